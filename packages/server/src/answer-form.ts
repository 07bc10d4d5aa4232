/** How a route writes its answers: as one document, or in chunks of a stream. */
import type { FinishReason, ServedToken } from "@flashwick/runtime";
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

export interface AnswerForm {
  document(head: AnswerHead, texts: readonly FinishedText[], usage: Usage): object;
  /** The first chunk of text `index`; null: there is none before its first piece. */
  opening(head: AnswerHead, index: number): object | null;
  piece(head: AnswerHead, index: number, piece: TextPiece): object;
  /** The last chunk of text `index`: how it ended, and what it calls. */
  ending(head: AnswerHead, index: number, calls: readonly ToolCall[], finishReason: FinishReason): object;
  /** The chunk that counts tokens. */
  usage(head: AnswerHead, usage: Usage): object;
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
