/** The body of a request for the next message of a conversation. */
import * as v from "valibot";
import { COMMON_FIELDS, count, only } from "./request-fields.js";

const textPart = v.strictObject({
  type: v.literal("text", "only text can be read"),
  text: v.string(),
});
/** A text, or its parts. */
const content = v.union([v.string(), v.array(textPart)], "expected a text, or an array of parts of the type text");

const calledFunction = v.strictObject({ name: v.string(), arguments: v.string() });
const toolCall = v.strictObject({ id: v.string(), type: v.literal("function"), function: calledFunction });

const message = v.variant("role", [
  v.strictObject({ role: v.picklist(["system", "developer", "user"]), content, name: v.nullish(v.string()) }),
  v.strictObject({
    role: v.literal("assistant"),
    content: v.nullish(content),
    name: v.nullish(v.string()),
    refusal: only(""),
    tool_calls: v.nullish(v.array(toolCall)),
  }),
  v.strictObject({ role: v.literal("tool"), content, tool_call_id: v.string() }),
]);

const tool = v.strictObject({
  type: v.literal("function", "only functions are supported"),
  function: v.strictObject({
    name: v.pipe(v.string(), v.regex(/^[\w-]{1,64}$/)),
    description: v.nullish(v.string()),
    parameters: v.nullish(v.record(v.string(), v.unknown())),
    strict: only(false),
  }),
});

const responseFormat = v.variant("type", [
  v.strictObject({ type: v.literal("text") }),
  v.strictObject({ type: v.literal("json_object") }),
  v.strictObject({
    type: v.literal("json_schema"),
    json_schema: v.strictObject({
      name: v.string(),
      description: v.nullish(v.string()),
      schema: v.record(v.string(), v.unknown()),
      strict: v.nullish(v.boolean()),
    }),
  }),
]);

/** What a client may send to `/v1/chat/completions`. */
export const CHAT_REQUEST = v.strictObject({
  ...COMMON_FIELDS,
  messages: v.pipe(v.array(message), v.minLength(1)),
  max_completion_tokens: COMMON_FIELDS.max_tokens,
  logprobs: v.nullish(v.boolean()),
  top_logprobs: v.nullish(count(0, 20)),
  response_format: v.nullish(responseFormat),
  tools: v.nullish(v.pipe(v.array(tool), v.maxLength(128))),
  tool_choice: v.nullish(v.picklist(["auto", "none"], "only auto and none are supported")),
  parallel_tool_calls: only(true),
  metadata: v.nullish(v.record(v.string(), v.string())),
  store: only(false),
});

export type ChatRequest = v.InferOutput<typeof CHAT_REQUEST>;
export type RequestedMessage = ChatRequest["messages"][number];
