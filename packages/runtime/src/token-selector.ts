/**
 * How the tokens of one text are chosen: a sampler over what its grammar allows, with the log probabilities that are wanted.
 *
 * Tokens are chosen in order. Those that turn out not to be part of the text (drafts, or a step that failed) are taken back with `rollback`, and the
 * grammar with them.
 */
import { InputError } from "@flashwick/core";
import type { Sampler } from "./sampler.js";
import type { TokenConstraint } from "./token-constraint.js";
import { logprobOf, type TokenLogprob } from "./token-logprob.js";

/** What a selection keeps to, and what it reports. */
export interface SelectorOptions {
  readonly constraint?: TokenConstraint | undefined;
  /** As in `GenerateOptions`. */
  readonly topLogprobs?: number | undefined;
  /** Ends the text; null (default): nothing does. */
  readonly eosTokenId?: number | null;
}

/** Chooses the tokens of a text one after another, within a grammar where there is one. */
export class TokenSelector {
  readonly #sampler: Sampler;
  readonly #options: SelectorOptions;
  /** Logits that the grammar may change. */
  #masked = new Float32Array(0);
  /** Log probabilities that nobody has taken yet, by the number of their token. */
  readonly #logprobs = new Map<number, TokenLogprob>();
  #length = 0;
  #hasEnded = false;

  constructor(sampler: Sampler, options: SelectorOptions = {}) {
    this.#sampler = sampler;
    this.#options = options;
  }

  /** Tokens chosen so far, without the one that ends the text. */
  get length(): number {
    return this.#length;
  }

  /** Whether no further token can be chosen: the text has ended, or by the grammar nothing but its end may follow. */
  get isComplete(): boolean {
    return this.#hasEnded || (this.#options.constraint?.isComplete ?? false);
  }

  /**
   * The next token of the text.
   *
   * @param logits f32 `[vocabSize]`; not changed.
   * @param index  Number of the token in the text.
   * @throws {InputError} `INPUT_INVALID` where the grammar allows no token, or as {@link Sampler}. Nothing is chosen then.
   */
  select(logits: Float32Array, index: number): number {
    const { topLogprobs } = this.#options;
    const token = this.#choose(logits, index);
    if (topLogprobs !== undefined) this.#logprobs.set(index, logprobOf(logits, token, topLogprobs));
    return token;
  }

  /** The same for a draft: nothing is noted, and after the end of the text any token will do. */
  readonly draft: Sampler = (logits, index = this.#length) =>
    this.isComplete ? this.#sampler(logits, index) : this.#choose(logits, index);

  /** Takes back every token from number `length` on, and an end of the text after those. */
  rollback(length: number): void {
    this.#hasEnded = false;
    if (length < this.#length) this.#options.constraint?.rollback(this.#length - length);
    this.#length = Math.min(this.#length, length);
  }

  /** The log probabilities of token number `index`, once; null if none are wanted. */
  takeLogprob(index: number): TokenLogprob | null {
    const logprob = this.#logprobs.get(index) ?? null;
    this.#logprobs.delete(index);
    return logprob;
  }

  #choose(logits: Float32Array, index: number): number {
    const { constraint, eosTokenId = null } = this.#options;
    const token = this.#sampler(constraint ? this.#mask(logits, constraint) : logits, index);
    this.#hasEnded = token === eosTokenId;
    if (this.#hasEnded) return token;
    constraint?.accept(token);
    this.#length++;
    return token;
  }

  #mask(logits: Float32Array, constraint: TokenConstraint): Float32Array {
    if (this.#masked.length !== logits.length) this.#masked = new Float32Array(logits.length);
    this.#masked.set(logits);
    constraint.mask(this.#masked);
    if (this.#masked.every((logit) => logit === Number.NEGATIVE_INFINITY)) throw nothingAllowed(this.#length);
    return this.#masked;
  }
}

function nothingAllowed(length: number): InputError {
  return new InputError(
    "INPUT_INVALID",
    `the constraint allows no token after ${length} tokens of text, expected at least one; a grammar that is complete has to allow the ` +
      "end-of-sequence token or to say isComplete",
    { details: { length } },
  );
}
