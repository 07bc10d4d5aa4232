/**
 * Several texts at once in one engine: what a server stands on.
 *
 * Every step computes the next token of every running text, so that weights and neurons are read once for all of them; prompts join in batches
 * between steps. First come, first served. Each text is what `model.generate` gives for the same request, bit for bit, whatever runs beside it.
 */
import { DisposedError, eventLoopTurn } from "@flashwick/core";
import type { EngineHolder } from "../engine-holder.js";
import type { Turn } from "../request-queue.js";
import { QueueFullError, retryAfterSeconds } from "./queue-full-error.js";
import { RunningTexts } from "./running-texts.js";
import type { ServedRequest, ServedSummary, ServedToken } from "./served-request.js";
import type { ServedText } from "./served-text.js";
import type { StoredPrefixes } from "./stored-prefixes.js";

/** What a scheduler is made of. */
export interface TextSchedulerParts {
  readonly engines: EngineHolder;
  /** The model's turn, which the scheduler holds until it is closed. */
  readonly turn: Turn;
  /** Tokens of each sequence. */
  readonly contextTokens: number;
  /** Texts that may run at once. */
  readonly sequences: number;
  /** Texts that may wait beyond those. */
  readonly maxQueue: number;
  /** Prompts beyond the process; null: none are kept. */
  readonly stored: StoredPrefixes | null;
  /** Aborted when the model is closed: all texts then end with its reason. */
  readonly closing: AbortSignal;
  /** Checks a request and makes a text of it. @param onResume To be called when the text has paused and may go on. */
  readonly textOf: (request: ServedRequest, onResume: () => void) => ServedText;
}

/** Weight of the last text in the mean of what texts take. */
const LAST_TEXT_SHARE = 0.2;

/** Opened by `Model.openScheduler`. */
export class TextScheduler {
  readonly #parts: TextSchedulerParts;
  readonly #waiting: ServedText[] = [];
  readonly #running: RunningTexts;
  readonly #looping: Promise<void>;
  /** Why no new request is taken; null: requests are taken. */
  #refusal: DisposedError | null = null;
  #closed: Promise<void> | null = null;
  /** Something may have to be done. */
  #isWoken = false;
  #onWake = () => {};
  /** Callers that wait until there are no texts. */
  #whenIdle: (() => void)[] = [];
  /** Mean milliseconds that a text holds its sequence. */
  #textMs = 0;

  constructor(parts: TextSchedulerParts) {
    this.#parts = parts;
    this.#running = new RunningTexts({ ...parts, onLeave: (text) => this.#left(text) });
    const onClosing = () => void this.#shut(parts.closing.reason);
    parts.closing.addEventListener("abort", onClosing, { once: true });
    this.#looping = this.#loop()
      .catch((error) => void this.#shut(error))
      .finally(() => parts.closing.removeEventListener("abort", onClosing));
  }

  /** Texts that have a sequence, texts that wait for one, and how many sequences there are. */
  get load(): { readonly running: number; readonly waiting: number; readonly sequences: number } {
    return { running: this.#running.count, waiting: this.#waiting.length, sequences: this.#parts.sequences };
  }

  /**
   * Generates text after a prompt, beside others. The request enters the queue when the first token is asked for.
   *
   * Breaking out of the loop, and the signal, end the text within one token, and free its memory. A caller that takes no tokens does not hold up the
   * others: after 16 its text pauses, and keeps its sequence. There are no drafts: steps are wide already.
   *
   * @throws {QueueFullError} at once if `maxQueue` requests wait. {InputError} for a prompt or an option that makes no sense, and where a constraint
   *   allows no token. {DisposedError} after `drain` or `close`. The signal's own reason. Whatever made a step fail: its texts all end with it, and the
   *   scheduler goes on with the others.
   */
  async *generate(request: ServedRequest): AsyncGenerator<ServedToken, ServedSummary> {
    const text = this.#enter(request);
    const { signal } = request;
    const onAbort = () => void this.#end(text, signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      for (;;) {
        const next = await text.output.take();
        if ("summary" in next) return next.summary;
        yield next;
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      await this.#end(text, new DisposedError("the text"));
    }
  }

  /** Takes nothing new, and ends when all texts have ended, those that wait included. */
  async drain(): Promise<void> {
    this.#refusal ??= new DisposedError("the scheduler");
    this.#wake();
    if (this.#closed) await this.#closed;
    else await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  /** Ends all texts, which throw a {@link DisposedError}, and gives the model's turn back. Safe to call twice. */
  close(): Promise<void> {
    return this.#shut(new DisposedError("the scheduler"));
  }

  /** As {@link TextScheduler.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #enter(request: ServedRequest): ServedText {
    request.signal?.throwIfAborted();
    if (this.#refusal) throw this.#refusal;
    const text = this.#parts.textOf(request, () => this.#wake());
    const { sequences, maxQueue } = this.#parts;
    const { running, waiting } = this.load;
    if (waiting >= maxQueue + Math.max(0, sequences - running)) {
      throw new QueueFullError({ waiting, retryAfterSeconds: retryAfterSeconds(this.#textMs, sequences) });
    }
    this.#waiting.push(text);
    this.#wake();
    return text;
  }

  /** Ends a text, unless it has come to its own end, and waits until its memory is free. */
  async #end(text: ServedText, reason: unknown): Promise<void> {
    text.output.abandon(reason);
    const at = this.#waiting.indexOf(text);
    if (at >= 0) this.#waiting.splice(at, 1);
    else await this.#running.release(text, reason);
    this.#wake();
  }

  async #loop(): Promise<void> {
    while (!this.#closed) {
      this.#isWoken = false;
      await this.#admit();
      if (await this.#running.round()) await eventLoopTurn();
      else await this.#idle();
    }
  }

  /** Gives places to those that wait, as far as there are any. */
  async #admit(): Promise<void> {
    for (let first = this.#waiting[0]; first && this.#running.mayBegin(first); first = this.#waiting[0]) {
      this.#waiting.shift();
      await this.#running.begin(first);
    }
  }

  /** Waits until something may have to be done. */
  async #idle(): Promise<void> {
    const { running, waiting } = this.load;
    if (running + waiting === 0) for (const tell of this.#whenIdle.splice(0)) tell();
    if (this.#isWoken) return;
    await new Promise<void>((resolve) => {
      this.#onWake = resolve;
    });
  }

  #wake(): void {
    this.#isWoken = true;
    this.#onWake();
  }

  #left({ account }: ServedText): void {
    if (!account.hasEnded) return;
    const share = this.#textMs === 0 ? 1 : LAST_TEXT_SHARE;
    this.#textMs += share * (account.heldMs - this.#textMs);
  }

  #shut(reason: unknown): Promise<void> {
    this.#refusal ??= new DisposedError("the scheduler");
    this.#closed ??= this.#endAll(reason).then(async () => {
      await this.#looping;
      this.#running.clear();
      for (const tell of this.#whenIdle.splice(0)) tell();
      this.#parts.turn.end();
    });
    this.#wake();
    return this.#closed;
  }

  async #endAll(reason: unknown): Promise<void> {
    await Promise.all([...this.#waiting, ...this.#running.all].map((text) => this.#end(text, reason)));
  }
}
