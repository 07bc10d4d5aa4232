/** From the body of a request to what is asked for and how it is to be answered, route by route. Pure. */
import type { AnswerForm } from "./answer-form.js";
import { chatForm } from "./chat-form.js";
import { orderChat, shownTools } from "./chat-order.js";
import { CHAT_REQUEST } from "./chat-request.js";
import { answerInChunks } from "./chunk-form.js";
import { completionForm } from "./completion-form.js";
import { orderCompletion } from "./completion-order.js";
import { COMPLETION_REQUEST } from "./completion-request.js";
import { parseRequest } from "./parse-request.js";
import { responseForm } from "./response-form.js";
import { orderResponse } from "./response-order.js";
import { RESPONSE_REQUEST } from "./response-request.js";
import { checkModelName, type ServedModel } from "./served-model.js";
import type { TextOrder } from "./text-order.js";
import { writesToolCalls } from "./tool-calls.js";

/** What is asked for, and how it is to be answered. */
export interface PlannedAnswer {
  readonly order: TextOrder;
  readonly form: AnswerForm;
  /** Of the answer's own name. */
  readonly prefix: string;
  /** Whether calls of tools are taken out of the texts. */
  readonly readsCalls: boolean;
}

/**
 * @param anySeed Where the request names none.
 * @throws {ApiError} 400 for what the route does not take, 404 for another model.
 */
export type PlanAnswer = (body: unknown, served: ServedModel, anySeed: number) => PlannedAnswer;

export const planChat: PlanAnswer = (body, served, anySeed) => {
  const request = parseRequest(CHAT_REQUEST, body);
  checkModelName(served, request.model);
  const order = orderChat(request, served, anySeed);
  const readsCalls = shownTools(request).length > 0 && writesToolCalls(served.chatTemplate!.source);
  const form = answerInChunks(chatForm(request.logprobs ?? false), request.stream_options?.include_usage ?? false);
  return { order, form, prefix: "chatcmpl-", readsCalls };
};

export const planCompletion: PlanAnswer = (body, served, anySeed) => {
  const request = parseRequest(COMPLETION_REQUEST, body);
  checkModelName(served, request.model);
  const order = orderCompletion(request, served, anySeed);
  const chunks = completionForm(typeof request.logprobs === "number");
  const form = answerInChunks(chunks, request.stream_options?.include_usage ?? false);
  return { order, form, prefix: "cmpl-", readsCalls: false };
};

export const planResponse: PlanAnswer = (body, served, anySeed) => {
  const request = parseRequest(RESPONSE_REQUEST, body);
  checkModelName(served, request.model);
  const order = orderResponse(request, served, anySeed);
  return { order, form: responseForm(request), prefix: "resp_", readsCalls: false };
};
