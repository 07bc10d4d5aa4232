/** From a completion request to texts: its prompts as they are. */
import type { CompletionRequest } from "./completion-request.js";
import { promptTokens } from "./prompt-tokens.js";
import type { ServedModel } from "./served-model.js";
import { orderTexts, type TextOrder } from "./text-order.js";

/** As in OpenAI's API: a completion that names no length is short. */
const DEFAULT_TOKENS = 16;

/** @throws {ApiError} As {@link orderTexts}. */
export function orderCompletion(request: CompletionRequest, served: ServedModel, anySeed: number): TextOrder {
  const parts = {
    prompts: promptsOf(request.prompt, served),
    maxTokens: request.max_tokens ?? DEFAULT_TOKENS,
    topLogprobs: request.logprobs ?? undefined,
    schema: null,
    promptField: "prompt",
  };
  return orderTexts(request, parts, served.contextTokens, anySeed);
}

/** Texts get the special tokens that the model begins with; token ids stay as they are. */
function promptsOf(prompt: CompletionRequest["prompt"], served: ServedModel): readonly (readonly number[])[] {
  const tokensOf = (text: string) => promptTokens(served, text, true, "prompt");
  if (typeof prompt === "string") return [tokensOf(prompt)];
  if (isTokens(prompt)) return [prompt];
  return prompt.map((one) => (typeof one === "string" ? tokensOf(one) : one));
}

function isTokens(prompt: readonly unknown[]): prompt is readonly number[] {
  return typeof prompt[0] === "number";
}
