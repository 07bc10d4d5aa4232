/** Token ids that a caller gives, before anything is computed with them. */
import { InputError, type ModelGeometry } from "@flashwick/core";

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
