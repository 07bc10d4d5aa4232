/** Answers of `/v1/chat/completions`. */
import { type FinishedText, finishWord, type TextPiece } from "./answer-form.js";
import type { ChunkForm } from "./chunk-form.js";
import type { ToolCall } from "./tool-calls.js";

/** @param wantsLogprobs Whether the request asked for log probabilities; else the field is null. */
export function chatForm(wantsLogprobs: boolean): ChunkForm {
  const logprobsOf = ({ logprobs }: TextPiece) => (wantsLogprobs ? { content: logprobs, refusal: null } : null);
  return {
    document: (head, texts, usage) => ({
      ...head,
      object: "chat.completion",
      choices: texts.map((text, index) => ({
        index,
        message: messageOf(text),
        logprobs: logprobsOf(text),
        finish_reason: finishWord(text.finishReason, text.calls),
      })),
      usage,
    }),
    opening: (head, index) => chunk(head, index, { role: "assistant", content: "" }),
    piece: (head, index, piece) => chunk(head, index, { content: piece.text }, logprobsOf(piece)),
    ending: (head, index, calls, reason) => {
      const delta =
        calls.length > 0 ? { tool_calls: calls.map((call, at) => ({ index: at, ...calledTool(call) })) } : {};
      return chunk(head, index, delta, null, finishWord(reason, calls));
    },
    usage: (head, usage) => ({ ...head, object: "chat.completion.chunk", choices: [], usage }),
  };
}

function messageOf({ text, calls }: FinishedText): object {
  const message = { role: "assistant", content: text === "" && calls.length > 0 ? null : text, refusal: null };
  return calls.length > 0 ? { ...message, tool_calls: calls.map(calledTool) } : message;
}

function calledTool({ name, arguments: given }: ToolCall) {
  return { id: `call_${crypto.randomUUID()}`, type: "function", function: { name, arguments: given } };
}

function chunk(
  head: object,
  index: number,
  delta: object,
  logprobs: object | null = null,
  finish_reason: string | null = null,
): object {
  return { ...head, object: "chat.completion.chunk", choices: [{ index, delta, logprobs, finish_reason }] };
}
