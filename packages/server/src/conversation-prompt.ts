/** From a conversation to the tokens of a prompt, by the model's chat template. */
import type { ChatMessage } from "@flashwick/runtime";
import { badRequest } from "./api-error.js";
import { promptTokens } from "./prompt-tokens.js";
import type { ServedModel } from "./served-model.js";

/**
 * @param tools What the model is told that it may call.
 * @throws {ApiError} 400 where the template, or its absence, does not allow the conversation. As `ChatTemplate.render`.
 */
export function conversationTokens(
  served: ServedModel,
  messages: readonly ChatMessage[],
  tools: readonly object[] = [],
): readonly number[] {
  const { chatTemplate } = served;
  if (chatTemplate === null) {
    throw badRequest("this model has no chat template; use /v1/completions", "no_chat_template", "messages");
  }
  if (tools.length > 0 && !/\btools\b/.test(chatTemplate.source)) {
    throw badRequest("the chat template of this model knows no tools; leave the field out", "no_tools", "tools");
  }
  const prompt = chatTemplate.render(messages, { addGenerationPrompt: true, ...(tools.length > 0 && { tools }) });
  return promptTokens(served, prompt, { parseSpecial: true }, "messages");
}
