/**
 * The body of a request to `/v1/responses`. The server keeps no responses and runs no tools, so what would need either is refused.
 * https://platform.openai.com/docs/api-reference/responses/create
 */
import * as v from "valibot";
import { COMMON_FIELDS, count, only } from "./request-fields.js";

const text = v.string();
/** As answers have them, since clients send answers back. They are not read. */
const ignored = v.nullish(v.unknown());

const part = v.variant("type", [
  v.strictObject({ type: v.literal("input_text"), text }),
  v.strictObject({ type: v.literal("output_text"), text, annotations: ignored, logprobs: ignored, parsed: ignored }),
]);
const parts = v.array(part);

const message = v.strictObject({
  type: v.nullish(v.literal("message", "only messages can be read")),
  role: v.picklist(["system", "developer", "user", "assistant"]),
  content: v.lazy((content) => (typeof content === "string" ? text : parts)),
  id: v.nullish(text),
  status: v.nullish(text),
  phase: v.nullish(text),
});
const messages = v.pipe(v.array(message), v.minLength(1));

const textFormat = v.variant("type", [
  v.strictObject({ type: v.literal("text") }),
  v.strictObject({ type: v.literal("json_object") }),
  v.strictObject({
    type: v.literal("json_schema"),
    name: text,
    description: v.nullish(text),
    schema: v.record(text, v.unknown()),
    strict: v.nullish(v.boolean()),
  }),
]);

const { model, temperature, top_p, top_k, seed, stream, user } = COMMON_FIELDS;

/** What a client may send to `/v1/responses`. `seed` and `top_k` are not OpenAI's. */
export const RESPONSE_REQUEST = v.strictObject({
  ...{ model, temperature, top_p, top_k, seed, stream, user },
  // Not a union: complaints are then of the very field, and not of the whole input.
  input: v.lazy((input) => (typeof input === "string" ? text : messages)),
  instructions: v.nullish(text),
  max_output_tokens: COMMON_FIELDS.max_tokens,
  text: v.nullish(v.strictObject({ format: v.nullish(textFormat), verbosity: only("medium") })),
  include: v.nullish(
    v.array(v.literal("message.output_text.logprobs", "only message.output_text.logprobs can be included")),
  ),
  top_logprobs: v.nullish(count(0, 20)),
  previous_response_id: v.nullish(v.never("this server keeps no responses; send the whole conversation as input")),
  conversation: v.nullish(v.never("this server keeps no conversations; send the whole conversation as input")),
  store: only(false),
  background: only(false),
  truncation: only("disabled"),
  tools: v.nullish(
    v.pipe(
      v.array(v.unknown()),
      v.maxLength(0, "this server runs no tools; /v1/chat/completions takes functions that the client runs"),
    ),
  ),
  tool_choice: v.nullish(v.picklist(["auto", "none"], "only auto and none are supported")),
  parallel_tool_calls: only(true),
  service_tier: v.nullish(v.picklist(["auto", "default"], "only auto and default are supported")),
  stream_options: v.nullish(v.strictObject({ include_obfuscation: only(false) })),
  metadata: v.nullish(v.record(text, text)),
  safety_identifier: v.nullish(text),
  prompt_cache_key: v.nullish(text),
});

export type ResponseRequest = v.InferOutput<typeof RESPONSE_REQUEST>;
