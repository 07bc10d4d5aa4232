/** The body of a request to go on from a text. */
import * as v from "valibot";
import { COMMON_FIELDS, count, MAX_TEXTS, only } from "./request-fields.js";

const text = v.string();
const tokens = v.pipe(v.array(count(0, 2 ** 31 - 1)), v.minLength(1));
const several = <Item extends typeof text | typeof tokens>(item: Item) =>
  v.pipe(v.array(item), v.minLength(1), v.maxLength(MAX_TEXTS));

/** What a client may send to `/v1/completions`. */
export const COMPLETION_REQUEST = v.strictObject({
  ...COMMON_FIELDS,
  prompt: v.union(
    [text, tokens, several(text), several(tokens)],
    `expected a text, an array of token ids, or an array of at most ${MAX_TEXTS} of either`,
  ),
  logprobs: v.nullish(count(0, 5)),
  echo: only(false),
  suffix: only(""),
  best_of: only(1),
});

export type CompletionRequest = v.InferOutput<typeof COMPLETION_REQUEST>;
