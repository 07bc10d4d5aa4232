/** Replicas behind nginx, in the configuration of docs/serving.md. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readEvents, type ServedTiny, serveTiny } from "./served.fixture.js";

const configuration = readFileSync(
  fileURLToPath(new URL("../../../../docs/serving/nginx.conf", import.meta.url)),
  "utf8",
);
const isInstalled = spawnSync("nginx", ["-v"]).status === 0;
const nginx = capability("nginx", isInstalled ? null : "nginx is not installed");

const model = "chatty.gguf";
const body = { model, prompt: "that which", max_tokens: 8, temperature: 0 };

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe.skipIf(nginx.isMissing)(nginx.title("two replicas behind nginx"), () => {
  let folder: string;
  let balancer: ChildProcess;
  let url: string;
  let left: ServedTiny;
  let right: ServedTiny;

  beforeAll(async () => {
    left = await serveTiny({ replicaId: "left" });
    right = await serveTiny({ replicaId: "right" });
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    folder = mkdtempSync(join(tmpdir(), "flashwick-nginx-"));
    // Its workers may run as a user of their own.
    chmodSync(folder, 0o755);
    mkdirSync(join(folder, "temp"));
    const portOf = ({ server }: ServedTiny) => new URL(server.url).port;
    const ours = configuration
      .replace(":8080", `:${port}`)
      .replace(":8081", `:${portOf(left)}`)
      .replace(":8082", `:${portOf(right)}`);
    writeFileSync(join(folder, "nginx.conf"), ours);
    balancer = spawn("nginx", ["-p", folder, "-c", join(folder, "nginx.conf"), "-g", "daemon off;"], {
      stdio: "ignore",
    });
    await vi.waitFor(async () => expect((await fetch(`${url}/health`)).status).toBe(200), { timeout: 30_000 });
  });
  afterAll(async () => {
    const ended = new Promise((resolve) => balancer.once("exit", resolve));
    balancer.kill("SIGTERM");
    await ended;
    await Promise.all([left.close(), right.close()]);
    rmSync(folder, { recursive: true });
  });

  const complete = (more: object = {}, init: RequestInit = {}) =>
    fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...body, ...more }),
      ...init,
    });

  it("share the requests, and answer alike", async () => {
    const responses = await Promise.all(Array.from({ length: 8 }, () => complete()));
    expect(responses.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
    expect(new Set(responses.map((response) => response.headers.get("x-replica-id")))).toEqual(
      new Set(["left", "right"]),
    );
    const texts = await Promise.all(responses.map(async (response) => (await response.json()).choices[0].text));
    const { text } = await left.alone("that which", { maxTokens: 8 });
    expect(new Set(texts)).toEqual(new Set([text]));
  });

  it("stream through it", async () => {
    const chunks = await readEvents(await complete({ stream: true }));
    const { text } = await left.alone("that which", { maxTokens: 8 });
    // biome-ignore lint/suspicious/noExplicitAny: documents of an API.
    expect(chunks.map((chunk: any) => chunk.choices[0].text).join("")).toBe(text);
  });

  it("are both told when a client leaves", async () => {
    const client = new AbortController();
    const response = await complete({ max_tokens: 150, stream: true, n: 2 }, { signal: client.signal });
    await response.body!.getReader().read();
    client.abort();
    const loads = () =>
      Promise.all([left, right].map(async ({ server }) => (await fetch(`${server.url}/health`)).json()));
    await expect.poll(async () => (await loads()).map(({ running }) => running)).toEqual([0, 0]);
  });

  it("one that drains leaves its requests to the other", async () => {
    await left.server.drain();
    const responses = await Promise.all(Array.from({ length: 6 }, () => complete()));
    expect(responses.map((response) => [response.status, response.headers.get("x-replica-id")])).toEqual(
      Array.from({ length: 6 }, () => [200, "right"]),
    );
  });
});
