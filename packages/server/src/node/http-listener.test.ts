/** What sockets add to the life of a request: clients that hang up, and clients that stop reading. */
import { connect } from "node:net";
import { afterEach, expect, it } from "vitest";
import { type HeldServer, holdServer } from "../held-scheduler.fixture.js";
import type { ServerOptions } from "../server-options.js";
import { breakConnection, HttpListener } from "./http-listener.js";

const listeners: HttpListener[] = [];
afterEach(async () => {
  for (const listener of listeners.splice(0)) {
    listener.break();
    await listener.end();
  }
});

interface Listening extends HeldServer {
  readonly listener: HttpListener;
  ask(body: object, init?: RequestInit): Promise<Response>;
}

async function listen(options: ServerOptions = {}): Promise<Listening> {
  const held = holdServer(options);
  const listener = await HttpListener.listen((request, platform) => held.server.fetch(request, platform), { port: 0 });
  listeners.push(listener);
  const headers = { "content-type": "application/json" };
  const ask = (body: object, init: RequestInit = {}) =>
    fetch(`${listener.url}/v1/completions`, {
      ...{ method: "POST", headers, body: JSON.stringify({ model: "held", prompt: [1], ...body }) },
      ...init,
    });
  return { ...held, listener, ask };
}

it.each([false, true])("a client that hangs up ends its text (streaming: %s)", async (stream) => {
  const { ask, asked, texts, records } = await listen();
  const client = new AbortController();
  const answer = ask({ stream }, { signal: client.signal });
  answer.catch(() => {});
  await asked(1);
  if (stream) await answer;
  client.abort();
  await texts[0]!.ended;
  await expect(stream ? (await answer).text() : answer).rejects.toThrow();
  await expect.poll(() => records.map(({ status }) => status)).toEqual([499]);
});

it("the head of a stream goes out before its first token", async () => {
  const { ask, texts } = await listen();
  const response = await ask({ stream: true });
  expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream; charset=utf-8"]);
  texts[0]!.give("a");
  texts[0]!.end();
  expect(await response.text()).toMatch(/"text":"a".*"finish_reason":"stop".*data: \[DONE\]\n\n$/s);
});

it("a client that stops reading is disconnected, and its text ends", async () => {
  const { listener, asked, texts, records } = await listen({ stallMs: 50, disconnect: breakConnection });
  const { hostname, port } = new URL(listener.url);
  const body = JSON.stringify({ model: "held", prompt: [1], stream: true });
  const head = `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
  const socket = connect(Number(port), hostname, () => socket.write(`${head}\r\n\r\n${body}`));
  socket.on("error", () => {}).pause();
  await asked(1);
  // More than any socket buffers.
  for (let i = 0; i < 16; i++) texts[0]!.give("x".repeat(2 ** 20));
  await texts[0]!.ended;
  await expect.poll(() => records.map(({ status }) => status)).toEqual([499]);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.resume();
  await closed;
});

it("ends when the answers that are on their way have ended, and leaves nothing open", async () => {
  const { listener, ask, asked, texts } = await listen();
  const answer = ask({});
  await asked(1);
  const ended = listener.end();
  texts[0]!.give("done");
  texts[0]!.end();
  expect((await (await answer).json()).choices[0].text).toBe("done");
  await ended;
  await expect(ask({})).rejects.toThrow();
});

it("says where nothing can listen", async () => {
  const { listener } = await listen();
  const { port } = new URL(listener.url);
  const again = HttpListener.listen(async () => new Response(), { port: Number(port) });
  await expect(again).rejects.toMatchObject({ code: "INPUT_INVALID", message: expect.stringContaining(port) });
});
