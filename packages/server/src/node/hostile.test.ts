/** Requests that nobody means well: each gets its status, and the server answers the next one. */
import { connect, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type ServedTiny, serveTiny } from "./served.fixture.js";

const API_KEY = "key-that-nobody-may-see";
const model = "chatty.gguf";
const messages = [{ role: "user", content: "words that nobody may see" }];
const authorization = { authorization: `Bearer ${API_KEY}` };

let tiny: ServedTiny;
beforeAll(async () => {
  tiny = await serveTiny({ apiKeys: [API_KEY], maxBodyBytes: 20_000, headersTimeoutMs: 300, requestTimeoutMs: 600 });
});
afterAll(() => tiny.close());

const post = (path: string, body: unknown, headers: Record<string, string> = authorization) =>
  tiny.post(path, body, { headers });
const chat = (body: object) => post("/v1/chat/completions", { model, messages, max_tokens: 3, ...body });

afterEach(async () => {
  const response = await chat({ temperature: 0 });
  expect([response.status, (await response.json()).usage.completion_tokens]).toEqual([200, 3]);
  expect(JSON.stringify(tiny.records)).not.toMatch(/nobody may see|key-that/);
});

async function expectError(response: Response, status: number, code: string): Promise<void> {
  expect(response.status).toBe(status);
  const { error } = await response.json();
  expect(error).toEqual({ message: expect.any(String), type: expect.any(String), param: error.param, code });
  expect(error.message).not.toContain(tiny.file.folder);
}

describe("bodies", () => {
  it.each([
    ["huge", 413, "body_too_large", "x".repeat(30_000)],
    ["no JSON", 400, "invalid_json", '{"model": '],
    ["deep", 400, "too_deep", `{"model":${"[".repeat(9000)}${"]".repeat(9000)}}`],
    ["another type of value", 400, "invalid_type", "null"],
    ["a number for the model", 400, "invalid_value", '{"model": 7, "messages": []}'],
    [
      "a prototype of its own",
      400,
      "unsupported_parameter",
      '{"model":"chatty.gguf","messages":[{"role":"user","content":"a"}],"__proto__":{"n":9}}',
    ],
  ] as const)("%s", async (_, status, code, body) =>
    expectError(await post("/v1/chat/completions", body), status, code),
  );

  it("arguments of a tool call that nest deep within a text went past the judge of depth, to the end of the stack", async () => {
    const called = { name: "f", arguments: `{"a":${"[".repeat(9000)}${"]".repeat(9000)}}` };
    const call = { role: "assistant", content: null, tool_calls: [{ id: "1", type: "function", function: called }] };
    await expectError(await chat({ messages: [...messages, call] }), 400, "too_deep");
  });
  it("bytes that are no UTF-8", async () => {
    const body = Buffer.concat([Buffer.from('{"model":"'), Buffer.of(0xff, 0xfe), Buffer.from('"}')]);
    const response = await tiny.post("/v1/completions", "", { body, headers: authorization });
    await expectError(response, 400, "invalid_utf8");
  });
  it("a prompt that is longer than the context", async () => {
    await expectError(
      await chat({ messages: [{ role: "user", content: "word ".repeat(300) }] }),
      400,
      "context_length_exceeded",
    );
  });
  it("a prompt that would take long to tokenize, because it is one word", async () => {
    const word = "a".repeat(19_000);
    const asked = [
      post("/v1/completions", { model, prompt: word }),
      chat({ messages: [{ role: "user", content: word }] }),
      post("/v1/responses", { model, input: word }),
    ];
    for (const response of await Promise.all(asked)) {
      const { error } = await response.clone().json();
      await expectError(response, 400, "context_length_exceeded");
      expect(error.message).toContain("characters");
    }
  });
  it("tokens that the vocabulary does not have", async () => {
    await expectError(await post("/v1/completions", { model, prompt: [1, 2 ** 30] }), 400, "invalid_token");
  });
  it("no prompt", async () => {
    await expectError(await post("/v1/completions", { model, prompt: "" }), 400, "empty_prompt");
  });
  it("more answers than anybody needs", async () => {
    await expectError(await chat({ n: 1e9 }), 400, "invalid_value");
    await expectError(await post("/v1/completions", { model, prompt: ["a", "b", "c"], n: 8 }), 400, "too_many_texts");
  });
});

describe("who asks", () => {
  it.each(["", "Bearer ", "Bearer wrong", `Basic ${API_KEY}`, `Bearer ${API_KEY}x`])("with %j", async (header) => {
    for (const path of ["/v1/chat/completions", "/v1/responses"]) {
      await expectError(await post(path, {}, { authorization: header }), 401, "invalid_api_key");
    }
  });
  it("without a key gets nothing but the health", async () => {
    for (const path of ["/v1/models", "/metrics", "/v1/models/chatty.gguf"]) {
      await expectError(await fetch(`${tiny.server.url}${path}`), 401, "invalid_api_key");
    }
    expect((await fetch(`${tiny.server.url}/health`)).status).toBe(200);
  });
});

describe("paths and methods", () => {
  it.each([
    ["/etc/passwd", 404],
    ["/v1/models/..%2f..%2fetc%2fpasswd", 404],
    ["/v1/models/%00", 404],
    ["/v1/models/%E0%A4%A", 404],
    ["/v1/models/chatty.gguf/..", 404],
    ["//v1//models", 404],
    ["/metrics/", 404],
  ])("GET %s", async (path, status) => {
    expect((await fetch(`${tiny.server.url}${path}`, { headers: authorization })).status).toBe(status);
  });
  it("another method", async () => {
    const response = await fetch(`${tiny.server.url}/v1/chat/completions`, { headers: authorization });
    await expectError(response, 405, "method_not_allowed");
  });
  it("a model that is the path of a file", async () => {
    await expectError(await chat({ model: tiny.file.path }), 404, "model_not_found");
    await expectError(await chat({ model: "../../etc/passwd" }), 404, "model_not_found");
  });
});

describe("schemas", () => {
  const asked = (schema: object) =>
    chat({ max_tokens: 60, response_format: { type: "json_schema", json_schema: { name: "x", schema } } });
  /** Every subset of so many properties is an alternative of its own. */
  const names = Array.from({ length: 40 }, (_, i) => `p${i}`);
  const subsets = {
    type: "object",
    properties: Object.fromEntries(names.map((name) => [name, { type: "integer" }])),
    minProperties: 20,
    maxProperties: 30,
  };

  it.each([
    ["is no schema", { type: "nonsense" }],
    ["refers to nothing", { $ref: "#/$defs/none" }],
    ["allows nothing", { type: "integer", minimum: 5, maximum: 3 }],
    ["asks for a pattern that is none", { type: "string", pattern: "(" }],
  ])("one that %s", async (_, schema) => {
    await expectError(await asked(schema), 400, "invalid_schema");
  });
  it("one that explodes gets 400, and holds up no other text", async () => {
    const free = chat({ seed: 1, max_tokens: 40 });
    await expectError(await asked(subsets), 400, "invalid_schema");
    expect((await free).status).toBe(200);
  });
  it("one that refers to itself", async () => {
    const tree = { type: "object", properties: { next: { $ref: "#" } }, required: ["next"] };
    expect((await asked(tree)).status).toBe(200);
  });
});

describe("sockets", () => {
  const dial = (): Promise<Socket> => {
    const url = new URL(tiny.server.url);
    return new Promise((resolve) => {
      const socket = connect(Number(url.port), url.hostname, () => resolve(socket));
      socket.on("error", () => {});
    });
  };
  const answerTo = async (...pieces: readonly string[]): Promise<string> => {
    const socket = await dial();
    let answer = "";
    socket.on("data", (data) => (answer += data.toString("latin1")));
    for (const piece of pieces) socket.write(piece);
    await new Promise((resolve) => socket.once("close", resolve));
    return answer;
  };

  it("one that never ends its head is closed", async () => {
    expect(await answerTo("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n")).toMatch(/^(HTTP\/1\.1 408|$)/);
  });
  it("one that never ends its body is closed", async () => {
    const head =
      "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n";
    expect(await answerTo(`${head}authorization: Bearer ${API_KEY}\r\n\r\n`, '{"model"')).toMatch(
      /^(HTTP\/1\.1 408|$)/,
    );
  });
  it("one that speaks no HTTP gets 400", async () => {
    expect(await answerTo("\x16\x03\x01 what is this\r\n\r\n")).toMatch(/^HTTP\/1\.1 400/);
  });
  it("one with an endless head gets 431", async () => {
    expect(await answerTo(`GET /health HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(40_000)}`)).toMatch(
      /^HTTP\/1\.1 431/,
    );
  });
});

describe("a server without keys", () => {
  it("answers no request by the name of another machine", async () => {
    const open = await serveTiny({ maxSequences: 1 });
    const { port } = new URL(open.server.url);
    const asked = (host: string) =>
      new Promise<number>((resolve) => {
        const socket = connect(Number(port), "127.0.0.1", () =>
          socket.write(`GET /v1/models HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`),
        );
        socket.once("data", (data) => resolve(Number(data.toString().split(" ")[1])));
      });
    expect([await asked("rebound.example.org"), await asked(`localhost:${port}`)]).toEqual([403, 200]);
    await open.close();
  });
});
