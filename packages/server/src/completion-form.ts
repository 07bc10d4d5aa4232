/** Answers of `/v1/completions`. */
import { finishWord, type TextPiece } from "./answer-form.js";
import type { ChunkForm } from "./chunk-form.js";

interface FlatLogprobs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly number[];
  readonly top_logprobs: readonly Readonly<Record<string, number>>[];
  readonly text_offset: readonly number[];
}

/** @param wantsLogprobs Whether the request asked for log probabilities; else the field is null. */
export function completionForm(wantsLogprobs: boolean): ChunkForm {
  const logprobsOf = (piece: TextPiece, offset = 0) => (wantsLogprobs ? flatten(piece, offset) : null);
  // Characters of each text so far: tokens are placed in the whole.
  const lengths = new Map<number, number>();
  return {
    document: (head, texts, usage) => ({
      ...head,
      object: "text_completion",
      choices: texts.map((text, index) => ({
        index,
        text: text.text,
        logprobs: logprobsOf(text),
        finish_reason: finishWord(text.finishReason, []),
      })),
      usage,
    }),
    opening: () => null,
    piece: (head, index, piece) => {
      const offset = lengths.get(index) ?? 0;
      lengths.set(index, offset + piece.text.length);
      return chunk(head, index, piece.text, logprobsOf(piece, offset));
    },
    ending: (head, index, _, reason) => chunk(head, index, "", null, finishWord(reason, [])),
    usage: (head, usage) => ({ ...head, object: "text_completion", choices: [], usage }),
  };
}

/** Columns instead of rows, as this older route has them. */
function flatten({ logprobs }: TextPiece, offset: number): FlatLogprobs {
  let at = offset;
  return {
    tokens: logprobs.map(({ token }) => token),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map(({ top_logprobs: top }) =>
      Object.fromEntries(top.map(({ token, logprob }) => [token, logprob])),
    ),
    text_offset: logprobs.map(({ token }) => {
      const begin = at;
      at += token.length;
      return begin;
    }),
  };
}

function chunk(
  head: object,
  index: number,
  text: string,
  logprobs: FlatLogprobs | null,
  finish_reason: string | null = null,
): object {
  return { ...head, object: "text_completion", choices: [{ index, text, logprobs, finish_reason }] };
}
