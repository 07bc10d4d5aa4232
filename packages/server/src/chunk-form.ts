/** Streams of chunks that are all of one kind, as both routes of completions have them; the last event is `[DONE]`. */
import type { FinishReason } from "@flashwick/runtime";
import type { AnswerForm, AnswerHead, AnswerStream, TextPiece, Usage } from "./answer-form.js";
import { serverSentEvent } from "./event-stream.js";
import type { ToolCall } from "./tool-calls.js";

/** The chunks of a route. */
export interface ChunkForm {
  readonly document: AnswerForm["document"];
  /** The first chunk of text `index`; null: there is none before its first piece. */
  opening(head: AnswerHead, index: number): object | null;
  piece(head: AnswerHead, index: number, piece: TextPiece): object;
  /** The last chunk of text `index`: how it ended, and what it calls. */
  ending(head: AnswerHead, index: number, calls: readonly ToolCall[], finishReason: FinishReason): object;
  /** The chunk that counts tokens. */
  usage(head: AnswerHead, usage: Usage): object;
}

/** @param includesUsage Whether a stream ends with the chunk that counts tokens. */
export function answerInChunks(form: ChunkForm, includesUsage: boolean): AnswerForm {
  return {
    document: form.document,
    stream: (head, texts) => chunkStream(form, head, texts, includesUsage),
  };
}

const DONE = serverSentEvent("[DONE]");

function chunkStream(form: ChunkForm, head: AnswerHead, texts: number, includesUsage: boolean): AnswerStream {
  return {
    opening: () =>
      Array.from({ length: texts }, (_, index) => form.opening(head, index))
        .filter((chunk) => chunk !== null)
        .map(chunkEvent),
    take: (event) => {
      const { index } = event;
      if ("piece" in event) return [chunkEvent(form.piece(head, index, event.piece))];
      return [chunkEvent(form.ending(head, index, event.calls, event.finishReason))];
    },
    closing: (usage) => (includesUsage ? [chunkEvent(form.usage(head, usage)), DONE] : [DONE]),
    failure: ({ document }) => [chunkEvent(document), DONE],
  };
}

function chunkEvent(chunk: object): string {
  return serverSentEvent(JSON.stringify(chunk));
}
