/** From a request to `/v1/responses` to a text: instructions and messages through the model's template. */
import type { ChatMessage } from "@flashwick/runtime";
import { answerSchema } from "./answer-schema.js";
import { conversationTokens } from "./conversation-prompt.js";
import type { ResponseRequest } from "./response-request.js";
import type { ServedModel } from "./served-model.js";
import { orderTexts, type TextOrder } from "./text-order.js";

/** Fields whose complaints the routes share, by the names that this one gives them. */
export const RESPONSE_FIELDS: Readonly<Record<string, string>> = { messages: "input", response_format: "text.format" };

/** @throws {ApiError} As `conversationTokens`, `answerSchema` and {@link orderTexts}. */
export function orderResponse(request: ResponseRequest, served: ServedModel, anySeed: number): TextOrder {
  const parts = {
    prompts: [conversationTokens(served, conversationOf(request))],
    maxTokens: request.max_output_tokens ?? undefined,
    topLogprobs: includesLogprobs(request) ? (request.top_logprobs ?? 0) : undefined,
    schema: answerSchema(request.text?.format),
    promptField: "input",
  };
  return orderTexts(request, parts, served.contextTokens, anySeed);
}

/** Either field asks for log probabilities. */
export function includesLogprobs({ include, top_logprobs }: ResponseRequest): boolean {
  return (include?.length ?? 0) > 0 || (top_logprobs ?? 0) > 0;
}

function conversationOf({ instructions, input }: ResponseRequest): ChatMessage[] {
  const messages = typeof input === "string" ? [{ role: "user", content: input }] : input.map(templateMessage);
  return instructions ? [{ role: "system", content: instructions }, ...messages] : messages;
}

/** A developer is the system, and contents are texts. */
function templateMessage({ role, content }: Exclude<ResponseRequest["input"], string>[number]): ChatMessage {
  return {
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map(({ text }) => text).join(""),
  };
}
