/**
 * From a text that is computed to its consumer: a few tokens, in order, and then the end or an error.
 *
 * The text goes on while there is room, so that a consumer that takes a moment costs nothing; when there is none, the text pauses.
 */
import { assert } from "@flashwick/core";
import type { ServedSummary, ServedToken } from "./served-request.js";

/** Tokens that a text may be ahead of its consumer. */
export const HANDOVER_TOKENS = 16;

type End = { readonly summary: ServedSummary } | { readonly error: unknown };

export class Handover {
  readonly #tokens: ServedToken[] = [];
  readonly #onRoom: () => void;
  #end: End | null = null;
  /** Tells a consumer that waits. */
  #onChange: (() => void) | null = null;

  /** @param onRoom Called when a token is taken from a full hand-over. */
  constructor(onRoom: () => void) {
    this.#onRoom = onRoom;
  }

  get isFull(): boolean {
    return this.#tokens.length >= HANDOVER_TOKENS;
  }

  get hasEnded(): boolean {
    return this.#end !== null;
  }

  push(token: ServedToken): void {
    assert(this.#end === null, "nothing comes after the end");
    this.#tokens.push(token);
    this.#tell();
  }

  /** Nothing more comes. */
  finish(summary: ServedSummary): void {
    this.#close({ summary });
  }

  /** Nothing more comes: the consumer gets the tokens that are there, and then the error. */
  fail(error: unknown): void {
    this.#close({ error });
  }

  /** The same, but the consumer gets the error at once. */
  abandon(reason: unknown): void {
    if (this.#end === null) this.#tokens.length = 0;
    this.#close({ error: reason });
  }

  /**
   * Waits for the next token.
   *
   * @returns The token, or the summary after the last one. @throws The error that ended the text.
   */
  async take(): Promise<ServedToken | { readonly summary: ServedSummary }> {
    while (this.#tokens.length === 0 && this.#end === null) {
      await new Promise<void>((resolve) => {
        this.#onChange = resolve;
      });
    }
    const wasFull = this.isFull;
    const token = this.#tokens.shift();
    if (wasFull) this.#onRoom();
    if (token) return token;
    if ("error" in this.#end!) throw this.#end.error;
    return this.#end!;
  }

  #close(end: End): void {
    this.#end ??= end;
    this.#tell();
  }

  #tell(): void {
    this.#onChange?.();
    this.#onChange = null;
  }
}
