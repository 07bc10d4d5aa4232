import { expect, it } from "vitest";
import { CHAT_REQUEST } from "./chat-request.js";
import { COMPLETION_REQUEST } from "./completion-request.js";
import { parseRequest } from "./parse-request.js";

const messages = [{ role: "user", content: "Hello" }];
const chat = (more: object) => () => parseRequest(CHAT_REQUEST, { model: "m", messages, ...more });
const completion = (more: object) => () => parseRequest(COMPLETION_REQUEST, { model: "m", prompt: "a", ...more });

it.each([
  [
    "all that is known",
    chat({ temperature: 0, top_p: 0.5, n: 2, seed: -1, stop: ["a"], logprobs: true, top_logprobs: 20 }),
  ],
  ["nulls, as some clients send them", chat({ temperature: null, stop: null, tools: null, response_format: null })],
  [
    "defaults of what is not implemented",
    chat({ presence_penalty: 0, logit_bias: {}, store: false, parallel_tool_calls: true }),
  ],
  ["parts of a text", chat({ messages: [{ role: "user", content: [{ type: "text", text: "a" }] }] })],
  ["token ids", completion({ prompt: [1, 2] })],
  ["several prompts", completion({ prompt: [[1], [2, 3]] })],
])("takes %s", (_, parse) => expect(parse).not.toThrow());

it.each([
  [
    "a field that is missing",
    () => parseRequest(CHAT_REQUEST, { model: "m" }),
    "messages",
    "missing_required_parameter",
  ],
  ["a field that nobody knows", chat({ grammar: "x" }), "grammar", "unsupported_parameter"],
  ["a field that would change the answer", chat({ presence_penalty: 0.5 }), "presence_penalty", "invalid_value"],
  ["a token that is to be biased", chat({ logit_bias: { 1: 5 } }), "logit_bias.1", "unsupported_parameter"],
  ["an unknown field within another", chat({ stream_options: { a: 1 } }), "stream_options.a", "unsupported_parameter"],
  ["a temperature that is too high", chat({ temperature: 2.1 }), "temperature", "invalid_value"],
  ["no probability at all", chat({ top_p: 0 }), "top_p", "invalid_value"],
  ["too many choices", chat({ n: 9 }), "n", "invalid_value"],
  ["half a token", completion({ max_tokens: 0.5 }), "max_tokens", "invalid_value"],
  ["a seed that is not exact", chat({ seed: 2 ** 53 }), "seed", "invalid_value"],
  ["too many stop texts", chat({ stop: ["a", "b", "c", "d", "e"] }), "stop", "invalid_value"],
  ["an empty stop text", chat({ stop: "" }), "stop", "invalid_value"],
  ["no message", chat({ messages: [] }), "messages", "invalid_value"],
  ["a role that nobody has", chat({ messages: [{ role: "god", content: "" }] }), "messages.0.role", "invalid_value"],
  [
    "a picture",
    chat({ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "file:///x" } }] }] }),
    "messages.0.content",
    "invalid_value",
  ],
  ["a tool that is no function", chat({ tools: [{ type: "retrieval" }] }), "tools.0.type", "invalid_value"],
  ["a tool that must be called", chat({ tool_choice: "required" }), "tool_choice", "invalid_value"],
  ["an echo", completion({ echo: true }), "echo", "invalid_value"],
  ["a mixture of texts and tokens", completion({ prompt: ["a", 1] }), "prompt", "invalid_value"],
  ["a negative token", completion({ prompt: [-1] }), "prompt", "invalid_value"],
])("refuses %s", (_, parse, param, code) => {
  expect(parse).toThrow(expect.objectContaining({ status: 400, param, code }));
});

it.each([null, 7, "x", []])("refuses a body that is %j", (body) => {
  expect(() => parseRequest(CHAT_REQUEST, body)).toThrow(expect.objectContaining({ status: 400 }));
});

it("quotes little of what it found", () => {
  expect(chat({ model: "x".repeat(10_000) })).toThrow(
    expect.objectContaining({ message: expect.stringMatching(/^.{1,300}$/) }),
  );
});
