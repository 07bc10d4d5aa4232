/** How a route writes its answers: as one document, or as a stream of events. */
import type { FinishReason, ServedToken } from "@flashwick/runtime";
import type { ApiError } from "./api-error.js";
import type { NamedLogprob } from "./token-text.js";
import type { ToolCall } from "./tool-calls.js";

/** Of tokens, as clients account for them. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** What every chunk and every document begins with. */
export interface AnswerHead {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

/** A piece of a text: some characters, and the tokens that brought them. */
export interface TextPiece {
  readonly text: string;
  readonly logprobs: readonly NamedLogprob[];
}

/** A text, complete. */
export interface FinishedText extends TextPiece {
  readonly calls: readonly ToolCall[];
  readonly finishReason: FinishReason;
}

/** Something that text `index` has come to: some of it, or its end. */
export type RunEvent =
  | { readonly index: number; readonly piece: TextPiece }
  | { readonly index: number; readonly calls: readonly ToolCall[]; readonly finishReason: FinishReason };

/** How a route writes: all texts as one document, or as a stream of events while they come. */
export interface AnswerForm {
  document(head: AnswerHead, texts: readonly FinishedText[], usage: Usage): object;
  /** @param texts How many there are. */
  stream(head: AnswerHead, texts: number): AnswerStream;
}

/** The events of one answer. Each text is a whole event or several, as `serverSentEvent` writes them. */
export interface AnswerStream {
  /** Before the first token. */
  opening(): readonly string[];
  take(event: RunEvent): readonly string[];
  /** When all texts are complete. */
  closing(usage: Usage): readonly string[];
  /** Instead of `closing`: the status has been sent long before, so a failure is an event, too. */
  failure(error: ApiError): readonly string[];
}

/** Why a text ended, in the words of the API. */
export function finishWord(reason: FinishReason, calls: readonly ToolCall[]): string {
  if (calls.length > 0) return "tool_calls";
  return reason === "length" ? "length" : "stop";
}

/** Whether a token brings something that a client would see. */
export function isVisible({ text, logprob }: ServedToken): boolean {
  return text !== "" || logprob !== null;
}
