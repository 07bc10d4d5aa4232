/** Test support: a grammar that wants tokens of three kinds in turn, and ends after some. */
import { assert } from "@flashwick/core";
import type { TokenConstraint } from "./token-constraint.js";

export class TurningGrammar implements TokenConstraint {
  /** What it was told, less what was taken back. */
  readonly accepted: number[] = [];
  /** Tokens that were taken back. */
  rolledBack = 0;
  readonly #length: number;
  readonly #eosTokenId: number | null;

  /**
   * @param length     Nothing but the end may follow so many tokens.
   * @param eosTokenId May come after every third token.
   */
  constructor(length: number, eosTokenId: number | null = null) {
    this.#length = length;
    this.#eosTokenId = eosTokenId;
  }

  get isComplete(): boolean {
    return this.accepted.length >= this.#length;
  }

  mask(logits: Float32Array): void {
    for (let token = 0; token < logits.length; token++) {
      if (!this.#allows(token)) logits[token] = Number.NEGATIVE_INFINITY;
    }
  }

  accept(token: number): void {
    assert(this.#allows(token), "only what the grammar allows is accepted");
    this.accepted.push(token);
  }

  rollback(tokens: number): void {
    assert(tokens > 0 && tokens <= this.accepted.length, "only accepted tokens are taken back");
    this.accepted.length -= tokens;
    this.rolledBack += tokens;
  }

  #allows(token: number): boolean {
    const turn = this.accepted.length % 3;
    if (token === this.#eosTokenId) return turn === 0;
    return !this.isComplete && token % 3 === turn;
  }
}
