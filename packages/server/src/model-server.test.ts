/** The life of a request: refused, answered, left, cut off. */
import { FormatError } from "@flashwick/core";
import { ChatTemplate } from "@flashwick/runtime";
import { expect, it } from "vitest";
import { holdServer } from "./held-scheduler.fixture.js";

const errorOf = async (response: Response) => ((await response.json()) as { error: { code: string } }).error;

it("a full queue is 429, with the seconds to wait, streaming or not", async () => {
  const { complete, fill, records } = holdServer();
  fill(0);
  for (const stream of [false, true]) {
    const response = await complete({ stream });
    expect([response.status, response.headers.get("retry-after")]).toEqual([429, "7"]);
    expect(await errorOf(response)).toMatchObject({ code: "queue_full", type: "rate_limit_error" });
  }
  expect(records.map(({ status }) => status)).toEqual([429, 429]);
});

it("a queue that is full for one of several choices refuses the request, and ends the others", async () => {
  const { complete, texts, fill } = holdServer();
  fill(1);
  expect((await complete({ n: 2 })).status).toBe(429);
  await Promise.all(texts.map(({ ended }) => ended));
  expect(texts).toHaveLength(2);
});

it("a client that leaves a stream ends its texts", async () => {
  const { complete, texts, records } = holdServer();
  const response = await complete({ stream: true, n: 2 });
  const reader = response.body!.getReader();
  texts[0]!.give("a");
  expect(new TextDecoder().decode((await reader.read()).value)).toContain('"text":"a"');
  await reader.cancel();
  await Promise.all(texts.map(({ ended }) => ended));
  await expect.poll(() => records.map(({ status, tokens }) => [status, tokens])).toEqual([[499, 1]]);
});

it("a client that leaves a stream before it has read anything ends its texts, too", async () => {
  const { complete, texts, records } = holdServer();
  const response = await complete({ stream: true });
  texts[0]!.give("a");
  await response.body!.cancel();
  await texts[0]!.ended;
  await expect.poll(() => records.map(({ status }) => status)).toEqual([499]);
});

it("a client that leaves while it waits for a whole answer ends its text", async () => {
  const { complete, asked, texts, records } = holdServer();
  const client = new AbortController();
  const answer = complete({}, { signal: client.signal });
  await asked(1);
  client.abort("the connection broke");
  await texts[0]!.ended;
  expect((await answer).status).toBe(499);
  expect(records).toMatchObject([{ status: 499 }]);
});

it("a failure of the engine is 500, says nothing of its files, and is told to the operator", async () => {
  const { complete, asked, texts, records } = holdServer();
  const answer = complete({});
  await asked(1);
  const failure = new FormatError("FORMAT_INVALID", "/models/secret.gguf @ 0x40: damaged");
  texts[0]!.fail(failure);
  const response = await answer;
  expect(response.status).toBe(500);
  expect(JSON.stringify(await response.json())).not.toContain("secret");
  expect(records).toMatchObject([{ status: 500, failure }]);
});

it("a failure in the middle of a stream is an event, the last before its end", async () => {
  const { complete, texts, records } = holdServer();
  const response = await complete({ stream: true });
  texts[0]!.give("a");
  texts[0]!.fail(new Error("broken"));
  const events = (await response.text()).trim().split("\n\n");
  expect(events.map((event) => event.slice(0, 15))).toEqual(['data: {"id":"cm', 'data: {"error":', "data: [DONE]"]);
  expect(records).toMatchObject([{ status: 200, failure: new Error("broken") }]);
});

it("a response that fails in the middle of its stream says so in its last event", async () => {
  const { server, asked, texts, records } = holdServer(
    {},
    { chatTemplate: new ChatTemplate("{{ messages[0].content }}", { fileName: "held" }) },
  );
  const body = JSON.stringify({ model: "held", input: "a", stream: true });
  const headers = { "content-type": "application/json" };
  const response = server.fetch(new Request("http://localhost/v1/responses", { method: "POST", body, headers }));
  await asked(1);
  texts[0]!.give("a");
  texts[0]!.fail(new Error("broken"));
  const last = (await (await response).text()).trim().split("\n\n").at(-1)!;
  const [, name, json] = /^event: (\S+)\ndata: (.*)$/.exec(last)!;
  expect([name, JSON.parse(json!).response]).toMatchObject([
    "response.failed",
    { status: "failed", error: { code: "server_error", message: expect.stringContaining("the engine failed") } },
  ]);
  expect(records).toMatchObject([{ route: "/v1/responses", status: 200, failure: new Error("broken") }]);
});

it("a server that drains refuses new texts, says so to balancers, and lets the others end", async () => {
  const { server, complete, asked, texts } = holdServer();
  const answer = complete({});
  await asked(1);
  server.beginDrain();
  const refused = await complete({});
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
  const health = await server.fetch(new Request("http://localhost/health"));
  expect([health.status, await health.json()]).toMatchObject([503, { status: "draining" }]);
  texts[0]!.give("done");
  texts[0]!.end();
  expect(await (await answer).json()).toMatchObject({ choices: [{ text: "done", finish_reason: "stop" }] });
});

it("a server that is closed ends its texts with 503", async () => {
  const { server, complete, asked, texts } = holdServer();
  const answer = complete({});
  await asked(1);
  server.close();
  await texts[0]!.ended;
  expect((await answer).status).toBe(503);
});

it("a rate counts requests for texts alone, and names the seconds to wait", async () => {
  const { server, complete, fill } = holdServer({ requestsPerMinute: 2 });
  fill(0);
  const statuses = [];
  for (let i = 0; i < 3; i++) statuses.push((await complete({})).status);
  const last = await complete({});
  expect([...statuses, last.status, last.headers.get("retry-after")]).toEqual([429, 429, 429, 429, "30"]);
  expect((await errorOf(last)).code).toBe("rate_limit_exceeded");
  expect((await server.fetch(new Request("http://localhost/v1/models"))).status).toBe(200);
});

it("a conversation is refused where the model has no template", async () => {
  const { server } = holdServer();
  const body = JSON.stringify({ model: "held", messages: [{ role: "user", content: "a" }] });
  const headers = { "content-type": "application/json" };
  const request = new Request("http://localhost/v1/chat/completions", { method: "POST", body, headers });
  const response = await server.fetch(request);
  expect([response.status, (await errorOf(response)).code]).toEqual([400, "no_chat_template"]);
});
