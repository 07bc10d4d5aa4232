/**
 * Fields that both routes of completions know. A field that would change the answer and is not implemented is refused, whatever its value; one that
 * OpenAI's clients send at its default is taken at that value alone.
 */
import * as v from "valibot";

/** Answers to one request, prompts times `n`: each is a text of its own, and takes a place in the queue. */
export const MAX_TEXTS = 8;
/** Characters of a text that ends an answer; every token is searched for all of them. */
const MAX_STOP_LENGTH = 256;
/** Larger than any context: where the context ends, so does the text. */
const MAX_TOKENS = 2 ** 31 - 1;
/** Seeds of further choices are counted up from the request's, and stay exact. */
const MAX_SEED = 2 ** 52;

export const count = (least: number, most: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most));

/** A field of which only the default is implemented. */
export const only = <const Value extends string | number | boolean>(value: Value) =>
  v.nullish(v.literal(value, `only ${JSON.stringify(value)} is supported; leave the field out`));

const stopText = v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_STOP_LENGTH));

export const COMMON_FIELDS = {
  model: v.pipe(v.string(), v.maxLength(512)),
  max_tokens: v.nullish(count(1, MAX_TOKENS)),
  temperature: v.nullish(v.pipe(v.number(), v.minValue(0), v.maxValue(2))),
  top_p: v.nullish(v.pipe(v.number(), v.gtValue(0), v.maxValue(1))),
  top_k: v.nullish(count(0, MAX_TOKENS)),
  n: v.nullish(count(1, MAX_TEXTS)),
  seed: v.nullish(count(-MAX_SEED, MAX_SEED)),
  stop: v.nullish(v.union([stopText, v.pipe(v.array(stopText), v.maxLength(4))])),
  stream: v.nullish(v.boolean()),
  stream_options: v.nullish(v.strictObject({ include_usage: v.nullish(v.boolean()) })),
  presence_penalty: only(0),
  frequency_penalty: only(0),
  logit_bias: v.nullish(v.strictObject({}, "no token can be biased; leave the field out")),
  user: v.nullish(v.string()),
};
