/** A prompt's text to tokens, if it can fit at all. */
import type { EncodeOptions } from "@flashwick/runtime";
import { badRequest } from "./api-error.js";
import type { ServedModel } from "./served-model.js";

/**
 * Characters of a prompt for each token of the context. Text and code have 3 to 8. The tokenizer runs between the steps of all texts, and takes 28 s for a mebibyte
 * of one letter (SmolLM2's vocabulary, one core), so what is far too long is not given to it.
 */
const MAX_CHARACTERS = 16;

/**
 * @param field The field of the request that the text comes from, for complaints.
 * @throws {ApiError} 400 `context_length_exceeded` for a text that has too many characters to be tokenized.
 */
export function promptTokens(
  { tokenizer, contextTokens }: ServedModel,
  text: string,
  options: boolean | EncodeOptions,
  field: string,
): readonly number[] {
  const most = MAX_CHARACTERS * contextTokens;
  if (text.length <= most) return tokenizer.encode(text, options);
  const message = `the prompt has ${text.length} characters; this server takes ${most}, for a context of ${contextTokens} tokens`;
  throw badRequest(message, "context_length_exceeded", field);
}
