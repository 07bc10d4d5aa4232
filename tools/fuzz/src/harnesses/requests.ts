/** Requests to the server, bodies and headers, with response formats; behind it a scheduler that gives two tokens. */
import { ChatTemplate, type ServedRequest, type ServedSummary, type ServedToken } from "@flashwick/runtime";
import { type GrammarSource, ModelServer, ServerMetrics, type TextGrammar } from "@flashwick/server";
import { BrokenPromise, choiceOf, type Harness, jsonBytes } from "../harness.js";

const MiB = 2 ** 20;

const TEMPLATE =
  "{% for tool in tools or [] %}{{ tool.function | tojson }}\n{% endfor %}{% for message in messages %}{{ message.role }}: {{ message.content }}" +
  "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{{ '\\n' }}{% endfor %}";

const SUMMARY: ServedSummary = {
  ...{ promptTokens: 2, reusedTokens: 1, tokens: [1], finishReason: "stop" as const },
  ...{ queuedMs: 0, promptMs: 0, decodeMs: 0, flashBytes: 0, hits: 0, misses: 0 },
};
const REPLY = ['<tool_call>{"name":', ' "f"}</tool_call>'];

const scheduler = {
  load: { running: 0, waiting: 0, sequences: 2 },
  async *generate({ topLogprobs, constraint }: ServedRequest): AsyncGenerator<ServedToken, ServedSummary> {
    const logprob = topLogprobs === undefined ? null : { token: 1, logprob: -1, top: [{ token: 1, logprob: -1 }] };
    for (const text of REPLY) {
      constraint?.accept(1);
      yield { text, token: 1, logprob, finishReason: null };
    }
    return SUMMARY;
  },
};

/** Works nothing out: the engine of grammars is a library of its own, in threads of its own. */
const grammars: GrammarSource = {
  open: async (schema, count) => {
    JSON.parse(schema);
    return Array.from({ length: count }, (): TextGrammar => {
      return {
        mask() {},
        accept() {},
        rollback() {},
        release() {},
        isComplete: false,
        failed: new AbortController().signal,
      };
    });
  },
  close: async () => {},
};

const server = new ModelServer(
  {
    served: {
      ...{ name: "m", createdSeconds: 0, fingerprint: "fw_0", contextTokens: 4096, vocabSize: 10 },
      tokenizer: { encode: (text) => Array.from(text.slice(0, 5000), (_, i) => i % 10), decode: () => "x" },
      chatTemplate: new ChatTemplate(TEMPLATE, { fileName: "m" }),
    },
    ...{ scheduler, grammars, metrics: new ServerMetrics(scheduler, null), clock: () => 0, nowSeconds: () => 0 },
  },
  { loopbackOnly: true },
);

const FORMAT = {
  type: "json_schema",
  json_schema: {
    name: "a",
    schema: {
      type: "object",
      properties: { a: { $ref: "#/$defs/b" } },
      $defs: { b: { enum: [1, "x"] } },
      required: ["a"],
    },
  },
};
const TOOL = {
  type: "function",
  function: { name: "f", description: "d", parameters: { type: "object", properties: {} } },
};
const CALL = {
  role: "assistant",
  content: null,
  tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: '{"a":[1]}' } }],
};
const HELLO = [{ role: "user", content: "Hello" }];

const BODIES: readonly object[] = [
  { model: "m", prompt: "Hello", max_tokens: 5, temperature: 0.5, top_p: 0.9, seed: 1, stop: ["x"], n: 2 },
  { model: "m", prompt: [[1, 2], [3]], logprobs: 2, stream: true, stream_options: { include_usage: true } },
  { model: "m", messages: HELLO, response_format: FORMAT, max_completion_tokens: 5 },
  {
    model: "m",
    messages: [...HELLO, CALL, { role: "tool", content: [{ type: "text", text: "y" }], tool_call_id: "1" }],
    tools: [TOOL],
    tool_choice: "auto",
  },
  {
    model: "m",
    messages: HELLO,
    stream: true,
    logprobs: true,
    top_logprobs: 3,
    response_format: { type: "json_object" },
  },
];

const ROUTES = [
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/responses",
  "/v1/models/m",
  "/nothing",
];
const TYPES = [
  "application/json",
  "application/json; charset=utf-8",
  "application/json",
  "application/json",
  "text/plain",
];
const HOSTS = ["localhost", "127.0.0.1:8080", "localhost:1", "[::1]", "localhost", "localhost", "evil.example", ""];

/** A body, to one route or the other. */
export const serverRequest: Harness = {
  name: "server-request",
  form: "json",
  words: [
    ...[
      "model",
      "m",
      "messages",
      "role",
      "content",
      "user",
      "assistant",
      "tool",
      "system",
      "developer",
      "tool_calls",
      "arguments",
      "function",
    ],
    ...[
      "response_format",
      "input",
      "input_text",
      "instructions",
      "text",
      "json_schema",
      "schema",
      "type",
      "object",
      "array",
      "properties",
      "$ref",
      "#/$defs/a",
      "#",
      "anyOf",
      "allOf",
      "enum",
    ],
    ...[
      "pattern",
      "(a+)+$",
      "(?=a)",
      "minItems",
      "additionalProperties",
      "items",
      "prompt",
      "max_tokens",
      "n",
      "stop",
      "stream",
      "logprobs",
    ],
    ...[
      "tools",
      "tool_choice",
      "stream_options",
      "include_usage",
      "text",
      "name",
      "id",
      "seed",
      "logit_bias",
      "[[[[[[[[",
      "const",
      "format",
    ],
    ...[
      "[".repeat(20_000) + "]".repeat(20_000),
      `${'{"a":'.repeat(3000)}1${"}".repeat(3000)}`,
      "data: [DONE]\n\n",
      "\r\n",
      "<tool_call>",
    ],
  ],
  maxBytes: 256 * 1024,
  limits: { ms: 1500, growthBytes: 64 * MiB },
  seeds: async () => BODIES.map(jsonBytes),
  async read(input) {
    const pick = <T>(list: readonly T[], salt: number) => list[(choiceOf(input, 997) + salt) % list.length]!;
    const path = choiceOf(input, 16) === 0 ? pick(ROUTES, 0) : routeOf(input);
    const isOdd = choiceOf(input, 16) === 1;
    const headers = new Headers({ "content-type": isOdd ? pick(TYPES, 1) : TYPES[0]! });
    if (isOdd) headers.set("host", pick(HOSTS, 2));
    const body = input.slice();
    const response = await server.fetch(new Request(`http://localhost${path}`, { method: "POST", body, headers }));
    const answer = await response.text();
    if (response.status >= 500) throw new BrokenPromise(`status ${response.status}: ${answer.slice(0, 300)}`);
    if (response.status >= 400 && typeof JSON.parse(answer).error?.code !== "string")
      throw new BrokenPromise("an error without a code");
  },
};

/** Where a body seems to belong, by its first bytes. */
function routeOf(input: Uint8Array): string {
  const text = new TextDecoder("latin1").decode(input.subarray(0, 400));
  if (text.includes('"messages"')) return "/v1/chat/completions";
  return text.includes('"input"') ? "/v1/responses" : "/v1/completions";
}
