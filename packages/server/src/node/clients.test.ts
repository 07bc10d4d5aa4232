/** The same requests through three clients: every answer is what the engine gives to the same request alone. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { openModel } from "@flashwick/runtime/node";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { aiClient, type Client, fetchClient, type Messages, openaiClient, type Sampling } from "./clients.fixture.js";
import { serveModel } from "./serve-model.js";
import { type ServedTiny, serveTiny } from "./served.fixture.js";

const API_KEY = "a-key-of-the-tests";
const MESSAGES: Messages = [
  { role: "system", content: "Be short." },
  { role: "user", content: "Who are you?" },
  { role: "assistant", content: "I am" },
  { role: "user", content: "And who am I?" },
];
const SAMPLINGS: readonly Sampling[] = [
  { maxTokens: 12, temperature: 0, seed: 0 },
  { maxTokens: 24, temperature: 1, seed: 7 },
  { maxTokens: 24, temperature: 0.7, topP: 0.8, seed: 123456789 },
];

let tiny: ServedTiny;
beforeAll(async () => {
  tiny = await serveTiny({ apiKeys: [API_KEY] });
});
afterAll(() => tiny.close());

const CLIENTS = [
  ["openai", openaiClient],
  ["@ai-sdk/openai-compatible", aiClient],
  ["fetch", fetchClient],
] as const;
const ways = [false, true].flatMap((streams) => SAMPLINGS.map((sampling) => [streams, sampling] as const));

describe.each(CLIENTS)("%s", (_, makeClient) => {
  let client: Client;
  beforeAll(() => {
    client = makeClient({ url: tiny.server.url, model: "chatty.gguf", apiKey: API_KEY });
  });

  it("lists the model by the name of its file", async () => {
    expect(await client.models()).toEqual(["chatty.gguf"]);
  });

  it.each(ways)("chats as the engine does (streaming: %s, %j)", async (streams, sampling) => {
    const { text, tokens, finishReason, promptTokens } = await tiny.alone(MESSAGES, sampling);
    const answer = await client.chat(MESSAGES, sampling, streams);
    expect(answer).toEqual({ text, finishReason: wordOf(finishReason), usage: [promptTokens, tokens.length] });
  });

  it.each(ways)("completes as the engine does (streaming: %s, %j)", async (streams, sampling) => {
    const prompt = "that which was with them";
    const { text, tokens, finishReason } = await tiny.alone(prompt, sampling);
    // The AI SDK frames a prompt as a conversation; what it sends is its own.
    const answer = await client.complete(prompt, sampling, streams);
    if (makeClient === aiClient) expect([answer.usage[1] > 0, answer.text]).toEqual([true, expect.any(String)]);
    else
      expect(answer).toMatchObject({
        text,
        finishReason: wordOf(finishReason),
        usage: [expect.any(Number), tokens.length],
      });
  });

  it.each([false, true])("ends at a stop text, which is not part of the answer (streaming: %s)", async (streams) => {
    const sampling = { maxTokens: 40, temperature: 1, seed: 3 };
    const { text } = await tiny.alone(MESSAGES, sampling);
    const stop = [text.slice(6, 9)];
    const alone = await tiny.alone(MESSAGES, { ...sampling, stop });
    expect(alone.finishReason).toBe("stop");
    const answer = await client.chat(MESSAGES, { ...sampling, stop }, streams);
    expect([answer.text, answer.finishReason]).toEqual([alone.text, "stop"]);
  });

  it("answers several requests at once as it answers each alone", async () => {
    const seeds = [1, 2, 3, 4, 5, 6];
    const answers = seeds.map((seed) => client.chat(MESSAGES, { maxTokens: 16, temperature: 1, seed }, seed % 2 === 0));
    const alone = [];
    for (const seed of seeds) alone.push((await tiny.alone(MESSAGES, { maxTokens: 16, temperature: 1, seed })).text);
    expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(alone);
  });

  it("is told that there is no such model", async () => {
    expect(await client.failure("../chatty.gguf")).toBe(404);
  });

  it("is told that its key is wrong", async () => {
    const stranger = makeClient({ url: tiny.server.url, model: "chatty.gguf", apiKey: "another" });
    expect(await stranger.failure("chatty.gguf")).toBe(401);
  });
});

describe.each([
  ["openai", openaiClient],
  ["fetch", fetchClient],
] as const)("%s, through /v1/responses", (_, makeClient) => {
  it.each(ways)("answers as the engine does (streaming: %s, %j)", async (streams, sampling) => {
    const client = makeClient({ url: tiny.server.url, model: "chatty.gguf", apiKey: API_KEY });
    const { text, tokens, finishReason, promptTokens } = await tiny.alone(MESSAGES, sampling);
    const answer = await client.respond(MESSAGES, sampling, streams);
    expect(answer).toEqual({ text, finishReason: wordOf(finishReason), usage: [promptTokens, tokens.length] });
  });
});

/** Both end words of the engine but `length` are `stop` in the API. */
function wordOf(finishReason: string): string {
  return finishReason === "length" ? "length" : "stop";
}

const { FLASHWICK_MODELS_DIR: modelsFolder } = process.env;
const smolPath = join(modelsFolder ?? "", "SmolLM2-135M-Instruct.Q4_1.gguf");
const isThere = modelsFolder !== undefined && existsSync(smolPath);
const models = capability("models", isThere ? null : "FLASHWICK_MODELS_DIR names no folder with SmolLM2");

describe.skipIf(models.isMissing)(models.title("SmolLM2-135M-Instruct"), () => {
  it("chats through every client as the engine does", async () => {
    const options = { contextTokens: 256, predictor: null };
    const question: Messages = [{ role: "user", content: "What is the capital of France?" }];
    const sampling = { maxTokens: 12, temperature: 0, seed: 0 };
    const lone = await openModel(smolPath, options);
    let text = "";
    for await (const step of lone.chat(question, sampling)) text += step.text;
    await lone.close();
    const model = await openModel(smolPath, { ...options, maxSequences: 3 });
    const server = await serveModel(model, { port: 0, apiKeys: [API_KEY] });
    const address = { url: server.url, model: server.model, apiKey: API_KEY };
    const answers = CLIENTS.map(([, makeClient]) => makeClient(address).chat(question, sampling, true));
    expect((await Promise.all(answers)).map((answer) => answer.text)).toEqual([text, text, text]);
    expect(text).toContain("Paris");
    await server.close();
    await model.close();
  }, 240_000);
});
