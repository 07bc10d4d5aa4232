/** What a text of a scheduler has cost: its milliseconds by stage, and its share of what its steps read. */
import type { TokenStats } from "@flashwick/core";
import type { ServedSummary } from "./served-request.js";

export type TextCost = Pick<
  ServedSummary,
  "reusedTokens" | "queuedMs" | "promptMs" | "decodeMs" | "flashBytes" | "hits" | "misses"
>;

export class TextAccount {
  readonly #clock: () => number;
  readonly #enteredAt: number;
  #begunAt: number | null = null;
  #promptEndedAt: number | null = null;
  #endedAt: number | null = null;
  #reusedTokens = 0;
  #flashBytes = 0;
  #hits = 0;
  #misses = 0;

  /** @param clock Milliseconds, monotonic. The text waits from now on. */
  constructor(clock: () => number) {
    this.#clock = clock;
    this.#enteredAt = clock();
  }

  get hasEnded(): boolean {
    return this.#endedAt !== null;
  }

  /** Milliseconds for which the text has had a sequence. */
  get heldMs(): number {
    return this.#begunAt === null ? 0 : (this.#endedAt ?? this.#clock()) - this.#begunAt;
  }

  /** The text has got its sequence. */
  begin(): void {
    this.#begunAt = this.#clock();
  }

  /** So many more tokens of the prompt need not be computed. */
  reuse(tokens: number): void {
    this.#reusedTokens += tokens;
  }

  /** `tokens` of the text were computed, each at this cost. */
  add({ flashBytes, cacheHits, cacheMisses }: TokenStats, tokens: number): void {
    this.#flashBytes += tokens * flashBytes;
    this.#hits += tokens * cacheHits;
    this.#misses += tokens * cacheMisses;
  }

  /** The logits after the prompt are there. Of several calls the first counts. */
  endPrompt(): void {
    this.#promptEndedAt ??= this.#clock();
  }

  /** The text is complete. */
  end(): TextCost {
    const endedAt = (this.#endedAt ??= this.#clock());
    const begunAt = this.#begunAt ?? endedAt;
    const promptEndedAt = this.#promptEndedAt ?? endedAt;
    return {
      reusedTokens: this.#reusedTokens,
      queuedMs: begunAt - this.#enteredAt,
      promptMs: promptEndedAt - begunAt,
      decodeMs: endedAt - promptEndedAt,
      flashBytes: this.#flashBytes,
      hits: this.#hits,
      misses: this.#misses,
    };
  }
}
