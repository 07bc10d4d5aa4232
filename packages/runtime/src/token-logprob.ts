/** Log probabilities of a chosen token and of those that it was chosen from. */
import { InputError } from "@flashwick/core";
import { likeliestTokens, logSumExp } from "./sampler.js";

/**
 * Natural logarithms of the model's own probabilities: before temperature, truncation and grammar, so that they do not depend on how the token was
 * chosen.
 */
export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
  /** The likeliest tokens, likeliest first, of equals the lower id; the chosen one need not be among them. */
  readonly top: readonly { readonly token: number; readonly logprob: number }[];
}

/**
 * @param logits f32 `[vocabSize]`.
 * @param topLogprobs How many of the likeliest tokens are wanted.
 * @throws {InputError} `INPUT_INVALID` for logits that are no distribution.
 * Cost: O(vocabSize), and O(topLogprobs) for each token that is among the likeliest so far.
 */
export function logprobOf(logits: Float32Array, token: number, topLogprobs: number): TokenLogprob {
  const sum = logSumExp(logits);
  const of = (id: number) => ({ token: id, logprob: logits[id]! - sum });
  return { ...of(token), top: likeliestTokens(logits, topLogprobs).map(of) };
}

/** @throws {InputError} `INPUT_INVALID` for a number of log probabilities that makes no sense. */
export function checkTopLogprobs(topLogprobs: number | undefined, vocabSize: number): void {
  if (topLogprobs === undefined) return;
  if (Number.isInteger(topLogprobs) && topLogprobs >= 0 && topLogprobs <= vocabSize) return;
  throw new InputError(
    "INPUT_INVALID",
    `topLogprobs is ${topLogprobs}, expected an integer from 0 to the ${vocabSize} tokens of the vocabulary`,
    { details: { topLogprobs, vocabSize } },
  );
}
