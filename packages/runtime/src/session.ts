/**
 * One sequence in an engine: which tokens its keys and values hold, prefill, and the loop of decoding.
 *
 * Prefill runs all neurons, so its keys and values are exact and may serve a later prompt that begins the same; what the
 * sparse path decoded is never reused, or the same prompt could give another text.
 */
import { InputError, type ModelGeometry, type TokenStats } from "@flashwick/core";
import type { Engine, ForwardObserver } from "./engine.js";

/** Tokens whose sets fill the caches after a prefill. */
export const SEED_TOKENS = 8;

export class Session {
  readonly engine: Engine;
  /** Tokens whose keys and values are stored. */
  #tokens: number[] = [];
  /** How many of them were computed by all neurons. */
  #exact = 0;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  get position(): number {
    return this.#tokens.length;
  }

  /** Forgets the sequence; the neuron caches keep what they hold. */
  reset(): void {
    this.#truncate(0);
  }

  /**
   * Takes in the prompt, reusing what an earlier prompt shares with it.
   *
   * @returns The logits after its last token (a copy), and what each batch cost.
   */
  async prefill(
    prompt: readonly number[],
    signal?: AbortSignal,
    onProgress?: (done: number) => void,
  ): Promise<{ logits: Float32Array; batches: TokenStats[]; reused: number }> {
    const { batchTokens } = this.engine;
    let shared = 0;
    while (shared < Math.min(this.#exact, prompt.length - 1) && this.#tokens[shared] === prompt[shared]) shared++;
    this.#truncate(shared);
    let logits = new Float32Array(0);
    const batches: TokenStats[] = [];
    for (let at = shared; at < prompt.length; at += batchTokens) {
      const tokens = prompt.slice(at, at + batchTokens);
      const last = at + tokens.length === prompt.length;
      const stats = await this.engine.batch(tokens, at, {
        logits: last ? "last" : "none",
        onLogits: (_, values) => {
          logits = values.slice();
        },
        seedTokens: last ? SEED_TOKENS : 0,
        signal,
      });
      this.#tokens.push(...tokens);
      this.#exact = this.#tokens.length;
      batches.push(stats);
      onProgress?.(this.#tokens.length);
    }
    return { logits, batches, reused: shared };
  }

  /** Decodes one token: appends it and gives the logits after it (valid until the next call). */
  async decode(
    token: number,
    signal?: AbortSignal,
    observer?: ForwardObserver,
  ): Promise<{ logits: Float32Array; stats: TokenStats }> {
    let logits = new Float32Array(0);
    const stats = await this.engine.decode(token, this.#tokens.length, {
      logits: "last",
      onLogits: (_, values) => {
        logits = values as Float32Array<ArrayBuffer>;
      },
      observer,
      signal,
    });
    if (this.engine.parts.mode !== "predicted" && this.#exact === this.#tokens.length) this.#exact++;
    this.#tokens.push(token);
    return { logits, stats };
  }

  #truncate(length: number): void {
    this.#tokens.length = length;
    this.#exact = Math.min(this.#exact, length);
  }
}

/** @throws {InputError} for no token, a token outside the vocabulary, or more tokens than the context holds. */
export function checkTokens(tokens: readonly number[], geometry: ModelGeometry): void {
  const { vocabSize, contextLength } = geometry;
  if (tokens.length === 0) {
    throw new InputError("INPUT_INVALID", "the prompt has no tokens, expected at least one");
  }
  const bad = tokens.findIndex((token) => !Number.isInteger(token) || token < 0 || token >= vocabSize);
  if (bad >= 0) {
    throw new InputError(
      "INPUT_TOKEN_RANGE",
      `token ${bad} of the prompt is ${tokens[bad]}, expected an id from 0 to ${vocabSize - 1}`,
      { details: { index: bad, token: tokens[bad], vocabSize } },
    );
  }
  if (tokens.length > contextLength) {
    throw new InputError(
      "INPUT_CONTEXT_LENGTH",
      `the prompt has ${tokens.length} tokens, but the model's context is ${contextLength}; shorten it by ` +
        `${tokens.length - contextLength} tokens`,
      { details: { tokens: tokens.length, contextLength } },
    );
  }
}
