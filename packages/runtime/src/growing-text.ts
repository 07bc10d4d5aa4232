/** A text as its tokens are chosen: what of it can be handed out, and what ends it. */
import type { TextStream } from "./text-stream.js";

/** Why a text ended. `eos` also says that a grammar lets nothing but the end follow. */
export type FinishReason = "length" | "eos" | "stop" | "aborted";

export interface GrowingTextParts {
  readonly maxTokens: number;
  /** Ends the text and is no part of it; null: nothing does. */
  readonly eosTokenId: number | null;
  /** Null where only token ids are known. */
  readonly stream: TextStream | null;
}

export class GrowingText {
  readonly tokens: number[] = [];
  readonly #parts: GrowingTextParts;
  #finishReason: FinishReason | null;

  constructor(parts: GrowingTextParts) {
    this.#parts = parts;
    this.#finishReason = parts.maxTokens === 0 ? "length" : null;
  }

  /** Null while more tokens may come. */
  get finishReason(): FinishReason | null {
    return this.#finishReason;
  }

  /**
   * Takes the next token.
   *
   * @param isLast Nothing but the end may follow.
   * @returns The text that the token completes; null for the end-of-sequence token, which is no part of the text.
   */
  push(token: number, isLast: boolean): string | null {
    const { maxTokens, eosTokenId, stream } = this.#parts;
    if (token === eosTokenId) {
      this.#finishReason = "eos";
      return null;
    }
    this.tokens.push(token);
    const text = stream?.push(token) ?? "";
    if (stream?.stopped) this.#finishReason = "stop";
    else if (isLast) this.#finishReason = "eos";
    else if (this.tokens.length >= maxTokens) this.#finishReason = "length";
    return text;
  }

  /** The context holds no further token. */
  endOfContext(): void {
    this.#finishReason ??= "length";
  }

  /** Text that was held back, when nothing more comes. */
  rest(): string {
    return this.#parts.stream?.end() ?? "";
  }
}
