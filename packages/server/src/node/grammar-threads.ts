/**
 * The threads that work out grammars: started when they are needed, one a text, kept for the next one. A schema that explodes takes its thread with
 * it, and nothing else.
 */
import { badRequest, queueFull } from "../api-error.js";
import type { GrammarSource, TextGrammar } from "../text-grammar.js";
import { type GrammarLimits, GrammarThread, type GrammarVocabulary } from "./grammar-thread.js";

/** How many threads there may be, and what each may take. Limits that are left out are those of {@link GrammarThreads}. */
export interface GrammarThreadsOptions extends Partial<GrammarLimits> {
  /** Texts that are followed at once. */
  readonly threads: number;
  /** Requests that may wait for a thread. */
  readonly maxWaiting: number;
}

const LIMITS: GrammarLimits = { compileMs: 5000, stepMs: 2000, maxMemoryBytes: 512 * 2 ** 20, maxWhitespace: 16 };
/** What a request is told that finds too many before it. */
const RETRY_SECONDS = 5;

interface Waiting {
  readonly threads: number;
  readonly admit: () => void;
}

/**
 * Grammars in threads of their own, for a `ModelServer` in Node.
 *
 * By default a schema may take 5 s to compile and 2 s a token, 512 MiB, and 16 characters of white space in a row. Cost: a thread takes some tens of MiB,
 * mostly the vocabulary and the engine of grammars, and some hundred milliseconds to start.
 */
export class GrammarThreads implements GrammarSource {
  readonly #vocabulary: GrammarVocabulary;
  readonly #limits: GrammarLimits;
  readonly #threads: number;
  readonly #maxWaiting: number;
  /** First come, first served; a request waits until it can have all its threads. */
  readonly #waiting: Waiting[] = [];
  readonly #all = new Set<GrammarThread>();
  readonly #idle: GrammarThread[] = [];
  /** Of texts that are followed, or about to be. */
  #taken = 0;

  /** Starts nothing yet. */
  constructor(vocabulary: GrammarVocabulary, { threads, maxWaiting, ...limits }: GrammarThreadsOptions) {
    this.#vocabulary = vocabulary;
    this.#limits = { ...LIMITS, ...limits };
    this.#threads = threads;
    this.#maxWaiting = maxWaiting;
  }

  /** As {@link GrammarSource.open}. @throws {Error} if a thread does not come up. */
  async open(schema: string, count: number, signal: AbortSignal): Promise<readonly TextGrammar[]> {
    if (count > this.#threads) {
      throw badRequest(`with a response_format, n is at most ${this.#threads}`, "too_many_texts", "n");
    }
    await this.#enter(count, signal);
    const grammars = await Promise.allSettled(Array.from({ length: count }, () => this.#openOne(schema, signal)));
    const failure = grammars.find((one) => one.status === "rejected");
    const opened = grammars.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    if (!failure) return opened;
    for (const grammar of opened) grammar.release();
    throw failure.reason;
  }

  /** Ends the threads, whatever they do. */
  async close(): Promise<void> {
    await Promise.all([...this.#all].map((thread) => thread.end()));
  }

  async #openOne(schema: string, signal: AbortSignal): Promise<TextGrammar> {
    let thread: GrammarThread | undefined;
    try {
      thread = this.#idle.pop() ?? (await this.#launch());
      const grammar = await thread.compile(schema, signal);
      void this.#takeBack(thread);
      return grammar;
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  async #launch(): Promise<GrammarThread> {
    const thread = await GrammarThread.launch(this.#vocabulary, this.#limits, (ended) => this.#forget(ended));
    this.#all.add(thread);
    return thread;
  }

  /** A thread is free for the next text when it says so, or is replaced when it ends. */
  async #takeBack(thread: GrammarThread): Promise<void> {
    try {
      await thread.whenReleased();
      this.#idle.push(thread);
    } catch {
      // It has ended, and is forgotten already.
    }
    this.#leave();
  }

  #forget(thread: GrammarThread): void {
    this.#all.delete(thread);
    const at = this.#idle.indexOf(thread);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  async #enter(threads: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#waiting.length === 0 && this.#taken + threads <= this.#threads) {
      this.#taken += threads;
      return;
    }
    if (this.#waiting.length >= this.#maxWaiting) throw queueFull(RETRY_SECONDS);
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal.reason);
        this.#admit();
      };
      const admit = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      const waiting: Waiting = { threads, admit };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiting.push(waiting);
    });
  }

  #leave(): void {
    this.#taken--;
    this.#admit();
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next && this.#taken + next.threads <= this.#threads; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#taken += next.threads;
      next.admit();
    }
  }
}
