/** What the API offers beyond a text: choices, log probabilities, tools, schemas, and figures for an operator. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readEvents, type ServedTiny, serveTiny } from "./served.fixture.js";

let tiny: ServedTiny;
beforeAll(async () => {
  tiny = await serveTiny({ replicaId: "left" });
});
afterAll(() => tiny.close());

const model = "chatty.gguf";
const messages = [{ role: "user", content: "Hello" }];

// biome-ignore lint/suspicious/noExplicitAny: documents of an API, whose fields are what is tested.
type Document = any;

async function ask(path: string, body: object): Promise<Document> {
  const response = await tiny.post(path, { model, ...body });
  expect(response.status).toBe(200);
  return await response.json();
}
const chat = (body: object) => ask("/v1/chat/completions", { messages, ...body });
const complete = (body: object) => ask("/v1/completions", { prompt: "that which", ...body });

describe("choices", () => {
  it("each is the request alone with a seed of its own, counted up", async () => {
    const { choices, usage } = await chat({ n: 3, seed: 5, max_tokens: 10 });
    const alone = [];
    for (const seed of [5, 6, 7]) alone.push(await tiny.alone(messages, { seed, temperature: 1, maxTokens: 10 }));
    expect(choices.map((choice: Document) => choice.message.content)).toEqual(alone.map(({ text }) => text));
    expect(choices.map((choice: Document) => choice.index)).toEqual([0, 1, 2]);
    expect([usage.prompt_tokens, usage.completion_tokens]).toEqual([
      alone[0]!.promptTokens,
      alone.reduce((sum, { tokens }) => sum + tokens.length, 0),
    ]);
  });
  it("stream side by side", async () => {
    const body = { n: 2, seed: 5, max_tokens: 10 };
    const { choices } = await chat(body);
    const chunks = await readEvents(
      await tiny.post("/v1/chat/completions", { model, messages, ...body, stream: true }),
    );
    const texts = ["", ""];
    for (const {
      choices: [choice],
    } of chunks as Document[])
      texts[choice.index] += choice.delta.content ?? "";
    expect(texts).toEqual(choices.map((choice: Document) => choice.message.content));
  });
  it("of several prompts come prompt by prompt", async () => {
    const prompts = ["that which", "with them"];
    const { choices } = await complete({ prompt: prompts, n: 2, temperature: 0, max_tokens: 6 });
    const [first, second] = await Promise.all(prompts.map((prompt) => tiny.alone(prompt, { maxTokens: 6 })));
    expect(choices.map(({ text }: Document) => text)).toEqual([first!.text, first!.text, second!.text, second!.text]);
  });
  it("differ from request to request where no seed is named", async () => {
    const texts = await Promise.all(Array.from({ length: 4 }, () => chat({ max_tokens: 24 })));
    expect(new Set(texts.map(({ choices }) => choices[0].message.content)).size).toBeGreaterThan(1);
  });
});

describe("log probabilities", () => {
  it("name the tokens of the text, likeliest first beside them", async () => {
    const { choices } = await chat({ temperature: 0, max_tokens: 8, logprobs: true, top_logprobs: 3 });
    const [{ message, logprobs }] = choices;
    expect(logprobs.content.map(({ token }: Document) => token).join("")).toBe(message.content);
    for (const { token, logprob, bytes, top_logprobs: top } of logprobs.content) {
      expect(top.map((one: Document) => one.logprob)).toEqual(
        top.map((one: Document) => one.logprob).sort((a: number, b: number) => b - a),
      );
      expect([top.length, top[0].logprob, top[0].token]).toEqual([3, logprob, token]);
      expect(logprob).toBeLessThan(0);
      // A part of a character has no bytes that are a text.
      if (bytes !== null) expect(new TextDecoder().decode(Uint8Array.from(bytes))).toBe(token);
    }
  });
  it("are null unless they are asked for", async () => {
    expect((await chat({ max_tokens: 2 })).choices[0].logprobs).toBeNull();
    expect((await complete({ max_tokens: 2 })).choices[0].logprobs).toBeNull();
  });
  it("of a completion stand in columns, with the place of each token", async () => {
    const { choices } = await complete({ temperature: 0, max_tokens: 8, logprobs: 2 });
    const [{ text, logprobs }] = choices;
    expect(logprobs.tokens.join("")).toBe(text);
    expect(logprobs.text_offset).toEqual(
      logprobs.tokens.map((_: string, i: number) => logprobs.tokens.slice(0, i).join("").length),
    );
    expect(logprobs.token_logprobs).toHaveLength(logprobs.tokens.length);
    expect(logprobs.top_logprobs.every((top: object) => Object.keys(top).length === 2)).toBe(true);
  });
});

describe("tools", () => {
  const tools = [{ type: "function", function: { name: "add", description: "Adds.", parameters: { type: "object" } } }];
  it("are written into the prompt by the template, and left out with the choice none", async () => {
    const alone = async (prompt: string) => (await tiny.alone({ rendered: prompt }, { maxTokens: 1 })).promptTokens;
    const counts = async (body: object) => (await chat({ ...body, max_tokens: 1 })).usage.prompt_tokens;
    const shown = '{"name": "add", "description": "Adds.", "parameters": {"type": "object"}}\nuser: Hello\nassistant: ';
    expect(await counts({ tools })).toBe(await alone(shown));
    expect(await counts({ tools, tool_choice: "none" })).toBe(await alone("user: Hello\nassistant: "));
  });
  it("their calls and their answers are part of the conversation", async () => {
    const call = { id: "call_1", type: "function", function: { name: "add", arguments: '{"a": 1}' } };
    const conversation = [
      ...messages,
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", tool_call_id: "call_1", content: "2" },
    ];
    const prompt =
      'user: Hello\nassistant: <tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>\ntool: 2\nassistant: ';
    const { choices } = await chat({ messages: conversation, temperature: 0, max_tokens: 6 });
    expect(choices[0].message.content).toBe((await tiny.alone({ rendered: prompt }, { maxTokens: 6 })).text);
  });
});

describe("a schema", () => {
  const schema = {
    type: "object",
    properties: {
      sure: { type: "boolean" },
      mood: { enum: ["good", "bad"] },
      count: { type: "integer", minimum: 0, maximum: 99 },
    },
    required: ["sure", "mood", "count"],
    additionalProperties: false,
  };
  const format = { type: "json_schema", json_schema: { name: "answer", schema } };

  it.each([0, 1, 2, 3])("is met by every answer (seed %d)", async (seed) => {
    const { choices } = await chat({ response_format: format, seed, temperature: seed === 0 ? 0 : 1, max_tokens: 300 });
    const [{ message, finish_reason: finishReason }] = choices;
    expect(finishReason).toBe("stop");
    const { sure, mood, count, ...rest } = JSON.parse(message.content);
    expect([
      typeof sure,
      ["good", "bad"].includes(mood),
      Number.isInteger(count) && count >= 0 && count <= 99,
      rest,
    ]).toEqual(["boolean", true, true, {}]);
  });
  it("is met by streams, and by several choices at once", async () => {
    const body = { model, messages, response_format: format, n: 2, seed: 4, max_tokens: 300, stream: true };
    const chunks = await readEvents(await tiny.post("/v1/chat/completions", body));
    const texts = ["", ""];
    for (const {
      choices: [choice],
    } of chunks as Document[])
      texts[choice.index] += choice.delta.content ?? "";
    expect(texts.map((text) => Object.keys(JSON.parse(text)))).toEqual([
      ["sure", "mood", "count"],
      ["sure", "mood", "count"],
    ]);
  });
  it("holds the text that has one, and no other that runs beside it", async () => {
    const free = { seed: 9, max_tokens: 30 };
    const [held, other] = await Promise.all([chat({ response_format: format, seed: 1, max_tokens: 300 }), chat(free)]);
    expect(Object.keys(JSON.parse(held.choices[0].message.content))).toEqual(["sure", "mood", "count"]);
    const alone = await tiny.alone(messages, { seed: 9, temperature: 1, maxTokens: 30 });
    expect(other.choices[0].message.content).toBe(alone.text);
  });
  it("json_object gives the beginning of an object, or a whole one", async () => {
    const { choices } = await chat({ response_format: { type: "json_object" }, seed: 1, max_tokens: 60 });
    expect(choices[0].message.content.trimStart()).toMatch(/^\{/);
    if (choices[0].finish_reason === "stop") expect(typeof JSON.parse(choices[0].message.content)).toBe("object");
  });
  it("may be asked for more often than there are threads", async () => {
    const answers = await Promise.all(
      [1, 2, 3, 4, 5, 6, 7].map((seed) => chat({ response_format: format, seed, max_tokens: 300 })),
    );
    for (const { choices } of answers) expect(JSON.parse(choices[0].message.content)).toHaveProperty("mood");
  });
});

describe("for an operator", () => {
  it("/health says what runs", async () => {
    const response = await fetch(`${tiny.server.url}/health`);
    expect([response.status, await response.json()]).toEqual([
      200,
      { status: "ok", running: 0, waiting: 0, sequences: 3 },
    ]);
    expect(response.headers.get("x-replica-id")).toBe("left");
  });
  it("/metrics counts tokens, times and requests by declared routes", async () => {
    await chat({ max_tokens: 5 });
    await fetch(`${tiny.server.url}/v1/models/%2e%2e%2fsecret`);
    const text = await (await fetch(`${tiny.server.url}/metrics`)).text();
    const value = (name: string) =>
      Number(new RegExp(`^flashwick_${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)![1]);
    expect(value("tokens_total")).toBeGreaterThan(4);
    expect(value("prompt_tokens_total")).toBeGreaterThan(0);
    expect(value("first_token_seconds_count")).toBeGreaterThan(0);
    expect(value("token_seconds_count")).toBeGreaterThan(0);
    expect(value("sequences")).toBe(3);
    expect(text).toContain('flashwick_requests_total{route="/v1/models/:model{.+}",status="404",replica="left"} 1');
    expect(text).toContain('replica="left"');
    expect(text).not.toContain("secret");
    expect(text).not.toContain("process_cpu");
  });
  it("/v1/models names the file without its folder", async () => {
    const [list, one] = await Promise.all(
      ["/v1/models", "/v1/models/chatty.gguf"].map(async (path) => (await fetch(`${tiny.server.url}${path}`)).json()),
    );
    expect(list).toEqual({ object: "list", data: [one] });
    expect(one).toMatchObject({ id: "chatty.gguf", object: "model", context_length: 384 });
    expect(JSON.stringify(list)).not.toContain(tiny.file.folder);
  });
  it("every request is told of once, and nothing of what was said", async () => {
    const before = tiny.records.length;
    await chat({ messages: [{ role: "user", content: "a secret of mine" }], max_tokens: 3 });
    const body = { model, prompt: "a secret of mine", max_tokens: 3, stream: true };
    await (await tiny.post("/v1/completions", body)).text();
    const records = tiny.records.slice(before);
    expect(records).toMatchObject([
      { method: "POST", route: "/v1/chat/completions", status: 200, tokens: 3, failure: null },
      { method: "POST", route: "/v1/completions", status: 200, tokens: 3, failure: null },
    ]);
    expect(JSON.stringify(records)).not.toContain("secret");
  });
});
