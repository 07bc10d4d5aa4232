/** From a chat request to texts: messages through the model's template, tools as the template writes them. */
import type { ChatMessage } from "@flashwick/runtime";
import { answerSchema } from "./answer-schema.js";
import { badRequest } from "./api-error.js";
import type { ChatRequest, RequestedMessage } from "./chat-request.js";
import { conversationTokens } from "./conversation-prompt.js";
import { checkDepth } from "./json-body.js";
import type { ServedModel } from "./served-model.js";
import { orderTexts, type TextOrder } from "./text-order.js";

/** @throws {ApiError} 400 where the template, or its absence, does not allow the conversation. As `ChatTemplate.render`. */
export function orderChat(request: ChatRequest, served: ServedModel, anySeed: number): TextOrder {
  const { max_completion_tokens, max_tokens, logprobs, top_logprobs } = request;
  if (top_logprobs && !logprobs) {
    throw badRequest("top_logprobs needs logprobs: true", "invalid_value", "top_logprobs");
  }
  const parts = {
    prompts: [conversationTokens(served, request.messages.map(templateMessage), shownTools(request))],
    maxTokens: max_completion_tokens ?? max_tokens ?? undefined,
    topLogprobs: logprobs ? (top_logprobs ?? 0) : undefined,
    schema: schemaOf(request),
    promptField: "messages",
  };
  return orderTexts(request, parts, served.contextTokens, anySeed);
}

/** Tools that the model is shown; with the choice `none` it is shown none. */
export function shownTools({ tools, tool_choice }: ChatRequest): NonNullable<ChatRequest["tools"]> {
  return tool_choice === "none" ? [] : (tools ?? []);
}

/** As templates expect it: contents are texts, a developer is the system, and what a tool is called with is an object. */
function templateMessage(message: RequestedMessage): ChatMessage {
  const role = message.role === "developer" ? "system" : message.role;
  const content = textOf(message.content);
  if (message.role === "tool") return { role, content, extra: { tool_call_id: message.tool_call_id } };
  if (message.role !== "assistant" || !message.tool_calls?.length) return { role, content };
  return { role, content, extra: { tool_calls: message.tool_calls.map(templateCall) } };
}

function templateCall({ id, type, function: called }: NonNullable<AssistantMessage["tool_calls"]>[number]): object {
  return { id, type, function: { name: called.name, arguments: parsedArguments(called.arguments) } };
}

type AssistantMessage = Extract<RequestedMessage, { role: "assistant" }>;

function parsedArguments(text: string): unknown {
  // To the body's own judge, this is a text.
  checkDepth(text);
  try {
    return JSON.parse(text === "" ? "{}" : text);
  } catch {
    throw badRequest("the arguments of a tool call are not valid JSON", "invalid_value", "messages");
  }
}

function textOf(content: RequestedMessage["content"]): string {
  if (typeof content === "string") return content;
  return (content ?? []).map(({ text }) => text).join("");
}

function schemaOf({ response_format: format }: ChatRequest): string | null {
  return answerSchema(
    format?.type === "json_schema" ? { type: format.type, schema: format.json_schema.schema } : format,
  );
}
