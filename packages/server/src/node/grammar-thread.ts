/** One thread that works out grammars, and the grammar of the text that it follows. */
import { Worker } from "node:worker_threads";
import { ApiError, badRequest } from "../api-error.js";
import type { TextGrammar } from "../text-grammar.js";
import type { TokenBytes } from "../token-bytes.js";

/** What working out one grammar may take. */
export interface GrammarLimits {
  /** For compiling a schema, milliseconds of a thread. */
  readonly compileMs: number;
  /** For working out what may come next. The engine waits so long at most, once: the text then ends. */
  readonly stepMs: number;
  /** Of a thread's grammars. */
  readonly maxMemoryBytes: number;
  /** White space in a row between the parts of a document: a model that likes it could go on for ever. */
  readonly maxWhitespace: number;
}

/** The tokens that grammars are matched against. */
export interface GrammarVocabulary {
  /** What each token writes, as `readTokenBytes` reads it. */
  readonly bytes: TokenBytes;
  /** Logits of the model, at least as many as tokens. */
  readonly vocabSize: number;
  /** Ends a text; null: nothing does, and the text ends where its document does. */
  readonly stopToken: number | null;
}

/** Indices into the control words. */
const CELLS = { state: 0, order: 1, argument: 2, ends: 3, compiled: 4, failed: 5 } as const;
const CONTROL_WORDS = 8;
const STATES = { done: 0, ordered: 1 } as const;
const ORDERS = { accept: 1, rollback: 2, release: 3 } as const;

interface WorkerMessage {
  readonly kind: "ready" | "compiled" | "released" | "failed";
  readonly message?: string;
  readonly complaints: readonly string[];
}

/** What the library prints begins with a level, a file of its own and a line. */
const COMPLAINT = /^\[(?:FATAL|ERROR|WARNING)\] [^ ]*:\d+: /;
const MAX_COMPLAINT_LENGTH = 200;

export class GrammarThread {
  readonly #limits: GrammarLimits;
  readonly #worker: Worker;
  readonly #control: Int32Array;
  /** A bit a token: it may come next. */
  readonly #mask: Int32Array;
  /** Whoever waits for its next message, or for its end. */
  #listener: { readonly heard: (message: WorkerMessage) => void; readonly lost: () => void } | null = null;
  readonly #onEnd: (thread: GrammarThread) => void;
  isLost = false;

  private constructor(vocabulary: GrammarVocabulary, limits: GrammarLimits, onEnd: (thread: GrammarThread) => void) {
    this.#limits = limits;
    this.#onEnd = onEnd;
    const { vocabSize, stopToken, bytes } = vocabulary;
    const words = Math.ceil(vocabSize / 32);
    const shared = new SharedArrayBuffer(4 * (CONTROL_WORDS + words));
    this.#control = new Int32Array(shared, 0, CONTROL_WORDS);
    this.#mask = new Int32Array(shared, 4 * CONTROL_WORDS, words);
    // The file stands beside this one, in the sources as in the build. What it prints is nobody's business.
    this.#worker = new Worker(new URL("./grammar-worker.js", import.meta.url), {
      execArgv: [],
      stdout: true,
      stderr: true,
      workerData: {
        ...{ cells: CELLS, orders: ORDERS, states: STATES, control: this.#control, mask: this.#mask },
        ...{ vocabulary: packTokens(bytes), vocabSize, stopToken, maxMemoryBytes: limits.maxMemoryBytes },
      },
    });
    this.#worker.unref();
    this.#worker.on("message", (message: WorkerMessage) => this.#listener?.heard(message));
    this.#worker.on("error", () => this.#lose());
    this.#worker.on("exit", () => this.#lose());
  }

  /** Starts a thread, and waits until it has read the vocabulary. @throws {Error} if it does not come up. */
  static async launch(
    vocabulary: GrammarVocabulary,
    limits: GrammarLimits,
    onEnd: (thread: GrammarThread) => void,
  ): Promise<GrammarThread> {
    const thread = new GrammarThread(vocabulary, limits, onEnd);
    await thread.#next();
    return thread;
  }

  /**
   * Compiles a schema, and follows a text by it from then on.
   *
   * @throws {ApiError} 400 for a schema that cannot be met, or takes too long; the thread is lost then. The signal's reason, with the thread lost, too.
   */
  async compile(schema: string, signal: AbortSignal): Promise<TextGrammar> {
    Atomics.store(this.#control, CELLS.compiled, 0);
    Atomics.store(this.#control, CELLS.state, STATES.done);
    let isLate = false;
    const timer = setTimeout(() => {
      // The thread may have been done long ago, with an engine that was busy since.
      if (Atomics.load(this.#control, CELLS.compiled) === 1) return;
      isLate = true;
      void this.end();
    }, this.#limits.compileMs);
    const onAbort = () => void this.end();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      this.#worker.postMessage({ schema, maxWhitespace: this.#limits.maxWhitespace });
      return this.#follow(await this.#next());
    } catch (error) {
      await this.end();
      signal.throwIfAborted();
      if (isLate) throw refused(`it takes more than ${this.#limits.compileMs} ms to compile`);
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Ends the thread, whatever it does. Safe to call twice. */
  async end(): Promise<void> {
    await this.#worker.terminate();
    this.#lose();
  }

  #follow({ kind, message, complaints }: WorkerMessage): TextGrammar {
    // Warnings are of conditions that the library would ignore.
    const [complaint] = complaints.filter((text) => COMPLAINT.test(text));
    if (complaint !== undefined) throw refused(complaint.replace(COMPLAINT, ""));
    if (kind === "failed") throw refused(message ?? "it fails");
    return new FollowedText(this, this.#control, this.#mask, this.#limits.stepMs);
  }

  /** Resolves when the thread can take another schema. @throws {Error} if it ends instead. */
  async whenReleased(): Promise<void> {
    const { kind } = await this.#next();
    if (kind === "released") return;
    await this.end();
    throw new Error("the thread that works out grammars has failed");
  }

  /** The next message. @throws {Error} if the thread ends instead. */
  #next(): Promise<WorkerMessage> {
    return new Promise((resolve, reject) => {
      const lost = () => reject(new Error("the thread that works out grammars has ended"));
      if (this.isLost) lost();
      this.#listener = { heard: resolve, lost };
    });
  }

  #lose(): void {
    if (this.isLost) return;
    this.isLost = true;
    this.#listener?.lost();
    this.#onEnd(this);
  }
}

/** The grammar of a text, as its thread works it out. Orders are given without waiting; whoever needs the outcome waits. */
class FollowedText implements TextGrammar {
  readonly #thread: GrammarThread;
  readonly #control: Int32Array;
  readonly #mask: Int32Array;
  readonly #stepMs: number;
  readonly #failure = new AbortController();
  #isReleased = false;

  constructor(thread: GrammarThread, control: Int32Array, mask: Int32Array, stepMs: number) {
    this.#thread = thread;
    this.#control = control;
    this.#mask = mask;
    this.#stepMs = stepMs;
  }

  get failed(): AbortSignal {
    return this.#failure.signal;
  }

  get isComplete(): boolean {
    return this.#isDone() && Atomics.load(this.#control, CELLS.ends) === 1;
  }

  mask(logits: Float32Array): void {
    if (!this.#isDone()) return;
    for (let word = 0; word < this.#mask.length; word++) {
      const bits = this.#mask[word]!;
      if (bits === -1) continue;
      const end = Math.min(32, logits.length - 32 * word);
      for (let bit = 0; bit < end; bit++) {
        if ((bits & (1 << bit)) === 0) logits[32 * word + bit] = Number.NEGATIVE_INFINITY;
      }
    }
  }

  accept(token: number): void {
    this.#order(ORDERS.accept, token);
  }

  rollback(tokens: number): void {
    if (tokens > 0) this.#order(ORDERS.rollback, tokens);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.failed.aborted) return;
    this.#order(ORDERS.release, 0);
  }

  #order(order: number, argument: number): void {
    if (!this.#isDone()) return;
    Atomics.store(this.#control, CELLS.order, order);
    Atomics.store(this.#control, CELLS.argument, argument);
    Atomics.store(this.#control, CELLS.state, STATES.ordered);
    Atomics.notify(this.#control, CELLS.state);
  }

  /** Waits for the order before. @returns False if the grammar has failed: the text is told to end, and nothing is masked. */
  #isDone(): boolean {
    if (this.failed.aborted) return false;
    const outcome = Atomics.wait(this.#control, CELLS.state, STATES.ordered, this.#stepMs);
    const failed = Atomics.load(this.#control, CELLS.failed) === 1;
    if (outcome !== "timed-out" && !failed && !this.#thread.isLost) return true;
    this.#failure.abort(stepFailed(outcome === "timed-out" ? `takes more than ${this.#stepMs} ms a token` : "fails"));
    void this.#thread.end();
    return false;
  }
}

/** All tokens in one buffer, and where each ends. */
function packTokens(tokens: TokenBytes): { readonly bytes: Uint8Array; readonly ends: Uint32Array } {
  const ends = new Uint32Array(tokens.length);
  let length = 0;
  tokens.forEach((token, id) => {
    ends[id] = length += token?.length ?? 0;
  });
  const bytes = new Uint8Array(length);
  tokens.forEach((token, id) => {
    if (token !== null) bytes.set(token, ends[id]! - token.length);
  });
  return { bytes, ends };
}

function refused(why: string): ApiError {
  const message = `the schema cannot be followed: ${why.slice(0, MAX_COMPLAINT_LENGTH)}`;
  return badRequest(message, "invalid_schema", "response_format");
}

function stepFailed(how: string): ApiError {
  return new ApiError({
    status: 400,
    message: `working out the schema ${how}; simplify it`,
    code: "invalid_schema",
    param: "response_format",
  });
}
