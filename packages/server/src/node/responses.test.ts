/** `/v1/responses` as the client of OpenAI reads it: events in their order, formats, and what a server without a memory refuses. */
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readNamedEvents, type ServedTiny, serveTiny } from "./served.fixture.js";

const model = "chatty.gguf";
const SCHEMA = {
  type: "object",
  properties: { sure: { type: "boolean" }, mood: { enum: ["good", "bad"] } },
  required: ["sure", "mood"],
  additionalProperties: false,
};
const FORMAT = { type: "json_schema", name: "answer", schema: SCHEMA, strict: true } as const;
const WITH_LOGPROBS = { include: ["message.output_text.logprobs" as const], top_logprobs: 2 };

let tiny: ServedTiny;
let client: OpenAI;
beforeAll(async () => {
  tiny = await serveTiny();
  client = new OpenAI({ baseURL: `${tiny.server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => tiny.close());

const post = (body: object) => tiny.post("/v1/responses", { model, input: "Hello", max_output_tokens: 6, ...body });

describe("a response", () => {
  it("says its settings back, keeps nothing, and counts tokens", async () => {
    const settings = { instructions: "Be short.", temperature: 0, top_p: 0.5, metadata: { of: "a test" } };
    const response = await client.responses.create({ model, input: "Hello", max_output_tokens: 6, ...settings });
    expect(response).toMatchObject({
      ...{ object: "response", model, status: "incomplete", incomplete_details: { reason: "max_output_tokens" } },
      ...{ ...settings, max_output_tokens: 6, store: false, previous_response_id: null, error: null },
      ...{ text: { format: { type: "text" } }, tools: [] },
    });
    const { input_tokens: input, output_tokens: output, total_tokens: total, ...details } = response.usage!;
    expect([output, total]).toEqual([6, input + output]);
    const { cached_tokens: cached, cache_write_tokens: written } = details.input_tokens_details;
    expect(cached + written).toBe(input);
  });

  it("continues a conversation that is sent back as it came", async () => {
    const first = await client.responses.create({ model, input: "Hello", max_output_tokens: 6, temperature: 0 });
    const input: OpenAI.Responses.ResponseInput = [
      { role: "user", content: "Hello" },
      ...(first.output as OpenAI.Responses.ResponseOutputMessage[]),
      { role: "user", content: [{ type: "input_text", text: "Why?" }] },
    ];
    const second = await client.responses.create({ model, input, max_output_tokens: 6, temperature: 0 });
    const alone = await tiny.alone(
      [
        { role: "user", content: "Hello" },
        { role: "assistant", content: first.output_text },
        { role: "user", content: "Why?" },
      ],
      { maxTokens: 6, temperature: 0 },
    );
    expect(second.output_text).toBe(alone.text);
  });

  it("tells the model what a developer and the instructions say as its system", async () => {
    const input = [{ role: "developer", content: "Be kind." } as const, { role: "user", content: "Hello" } as const];
    const settings = { max_output_tokens: 6, temperature: 0 };
    const { output_text: text } = await client.responses.create({
      model,
      instructions: "Be short.",
      input,
      ...settings,
    });
    const conversation = [
      { role: "system", content: "Be short." },
      { role: "system", content: "Be kind." },
      { role: "user", content: "Hello" },
    ];
    expect(text).toBe((await tiny.alone(conversation, { maxTokens: 6, temperature: 0 })).text);
  });

  it.each([false, true])("meets a schema (streaming: %s)", async (streams) => {
    const request = { model, input: "Hello", max_output_tokens: 300, seed: 4, text: { format: FORMAT } };
    const response = streams
      ? await client.responses.stream(request).finalResponse()
      : await client.responses.create(request);
    expect(response).toMatchObject({ status: "completed", text: { format: FORMAT } });
    expect(Object.keys(JSON.parse(response.output_text))).toEqual(["sure", "mood"]);
  });
});

describe("a stream", () => {
  it("opens response, message and part, adds text, and closes all three", async () => {
    const events = await readNamedEvents(await post({ stream: true, seed: 2 }));
    const deltas = events.filter(({ type }) => type === "response.output_text.delta");
    expect(events.map(({ type }) => type)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      ...deltas.map(() => "response.output_text.delta"),
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.incomplete",
    ]);
    const [created] = events as readonly { response?: object }[];
    expect(created!.response).toMatchObject({ status: "in_progress", output: [], usage: null });
    const ids = events.flatMap(({ item_id: id }) => (id === undefined ? [] : [id]));
    const { output } = events.at(-1)!.response as { output: readonly { id: string; status: string }[] };
    expect([new Set(ids).size, ids[0], output[0]!.status]).toEqual([1, output[0]!.id, "incomplete"]);
    expect(deltas.map(({ delta }) => delta).join("")).toBe(events.at(-4)!.text);
  });

  it("brings the log probabilities that the whole answer has", async () => {
    const request = { model, input: "Hello", max_output_tokens: 6, temperature: 0, ...WITH_LOGPROBS };
    const whole = (await client.responses.create(request)).output[0] as OpenAI.Responses.ResponseOutputMessage;
    const [part] = whole.content as OpenAI.Responses.ResponseOutputText[];
    const streamed = [];
    for await (const event of await client.responses.create({ ...request, stream: true })) {
      if (event.type === "response.output_text.delta") streamed.push(...event.logprobs);
    }
    expect([part!.logprobs!.length, part!.logprobs![0]!.top_logprobs.length]).toEqual([6, 2]);
    expect(streamed).toEqual(part!.logprobs);
  });
});

it.each([
  ["a response to go on from", { previous_response_id: "resp_1" }, "previous_response_id", "keeps no responses"],
  ["a conversation that it should keep", { conversation: "conv_1" }, "conversation", "keeps no conversations"],
  ["an answer to be kept", { store: true }, "store", "only false"],
  ["an answer to be fetched later", { background: true }, "background", "only false"],
  ["tools that run on the server", { tools: [{ type: "web_search" }] }, "tools", "runs no tools"],
  [
    "a picture",
    { input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] },
    "input.0.content.0.type",
    "input_text",
  ],
  [
    "an item that is no message",
    { input: [{ type: "item_reference", role: "user", content: "", id: "x" }] },
    "input.0.type",
    "only messages",
  ],
  ["no input", { input: [] }, "input", "length"],
  ["a field that nobody knows", { max_tokens: 5 }, "max_tokens", "not supported"],
  [
    "a schema that answers cannot be held to",
    { text: { format: { ...FORMAT, schema: { not: {} } } } },
    "text.format",
    "not",
  ],
  ["a prompt beyond the context", { input: "that ".repeat(1000) }, "input", "tokens"],
])("refuses %s with 400", async (_, body, param, message) => {
  const response = await post(body);
  const { error } = (await response.json()) as { error: { param: string; message: string } };
  expect([response.status, error.param, error.message]).toEqual([400, param, expect.stringContaining(message)]);
});

it("refuses another model with 404", async () => {
  expect((await post({ model: "gpt-5" })).status).toBe(404);
});
