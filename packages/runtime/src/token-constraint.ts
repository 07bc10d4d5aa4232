/**
 * What a grammar allows at each place of a text. It is asked before each token is chosen and told of each token that was, and it can take tokens
 * back: drafts are chosen under the same grammar and may be rejected.
 */
export interface TokenConstraint {
  /**
   * Sets the logits of all tokens that may not come next to -Infinity, in place. The end-of-sequence token is one of those unless the text may end
   * here.
   *
   * @param logits f32 `[vocabSize]`: a copy, which belongs to the constraint during the call.
   */
  mask(logits: Float32Array): void;
  /** `token`, which `mask` has allowed, comes next. An end-of-sequence token that ends the text is not announced. */
  accept(token: number): void;
  /** Takes back the last `tokens` accepted tokens. */
  rollback(tokens: number): void;
  /** Whether nothing but the end may follow. The text then ends without computing anything more. */
  readonly isComplete: boolean;
}
