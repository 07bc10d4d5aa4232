/** What a request comes to: texts to generate, whichever route it came by. Pure. */
import type { ServedRequest } from "@flashwick/runtime";
import { type ApiError, badRequest } from "./api-error.js";
import type { CompletionRequest } from "./completion-request.js";
import { MAX_TEXTS } from "./request-fields.js";

/** Texts of one request. Text `p * n + c` is choice `c` of prompt `p`. */
export interface TextOrder {
  /** All that the engine is told of each text, but its grammar and its signal. */
  readonly texts: readonly ServedRequest[];
  /** Tokens of all prompts, each counted once however many choices it has. */
  readonly promptTokens: number;
  /** A JSON schema that the texts must meet; null: they are free. */
  readonly schema: string | null;
  readonly streams: boolean;
}

/** What a text is made by, whatever the route. */
export type SamplingFields = Partial<
  Pick<CompletionRequest, "n" | "temperature" | "top_p" | "top_k" | "seed" | "stop" | "stream">
>;

/** What a route adds to these fields. */
export interface OrderParts {
  readonly prompts: readonly (readonly number[])[];
  /** Undefined: as many as the context has room for. */
  readonly maxTokens: number | undefined;
  readonly topLogprobs: number | undefined;
  readonly schema: string | null;
  /** The field that the prompt comes from, for complaints. */
  readonly promptField: string;
}

/**
 * @param contextTokens Of a sequence: prompt and answer together.
 * @param anySeed       Where the request names none.
 * @throws {ApiError} 400 for an empty prompt, one that leaves no room for an answer, and for too many texts at once.
 */
export function orderTexts(
  request: SamplingFields,
  parts: OrderParts,
  contextTokens: number,
  anySeed: number,
): TextOrder {
  const { prompts, promptField } = parts;
  const { n, stream } = request;
  const choices = n ?? 1;
  for (const prompt of prompts) checkPrompt(prompt, contextTokens, promptField);
  if (prompts.length * choices > MAX_TEXTS) {
    throw badRequest(`${prompts.length} prompts times n are more than ${MAX_TEXTS} texts`, "too_many_texts", "n");
  }
  return {
    texts: prompts.flatMap((prompt) => choicesOf(request, prompt, parts, contextTokens, anySeed)),
    promptTokens: prompts.reduce((sum, { length }) => sum + length, 0),
    schema: parts.schema,
    streams: stream ?? false,
  };
}

/** Choice `c` has the seed `seed + c`, so that a request with `n` is that of `n` requests. */
function choicesOf(
  { n, temperature, top_p, top_k, seed, stop }: SamplingFields,
  prompt: readonly number[],
  { maxTokens, topLogprobs }: OrderParts,
  contextTokens: number,
  anySeed: number,
): ServedRequest[] {
  const room = contextTokens - prompt.length;
  const whole = {
    prompt,
    maxTokens: Math.min(maxTokens ?? room, room),
    stop: typeof stop === "string" ? [stop] : (stop ?? []),
    temperature: temperature ?? 1,
    topP: top_p ?? 1,
    topK: top_k ?? 0,
    ...(topLogprobs === undefined ? {} : { topLogprobs }),
  };
  return Array.from({ length: n ?? 1 }, (_, choice) => ({ ...whole, seed: (seed ?? anySeed) + choice }));
}

function checkPrompt({ length }: readonly number[], contextTokens: number, field: string): void {
  if (length === 0) throw badRequest("the prompt has no tokens", "empty_prompt", field);
  if (length < contextTokens) return;
  throw tooLong(length, contextTokens, field);
}

function tooLong(length: number, contextTokens: number, field: string): ApiError {
  const room = `this server keeps ${contextTokens} tokens of prompt and answer together`;
  return badRequest(`the prompt has ${length} tokens; ${room}`, "context_length_exceeded", field);
}
