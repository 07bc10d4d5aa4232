/** A server as the command line starts it, and as signals end it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { flashwick, type Outcome, type TerminalOptions } from "./tiny-checkpoint.fixture.js";

const plain = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/qwen2.gguf", import.meta.url));

let dir: string;
let model: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "flashwick-serve-"));
  model = join(dir, "tiny.gguf");
  writeFileSync(model, readFileSync(plain));
});
afterAll(() => rmSync(dir, { recursive: true }));

interface Started {
  readonly url: string;
  readonly model: string;
  /** What the first signal does. */
  readonly stop: () => void;
  readonly outcome: Promise<Outcome>;
}

/** Runs the command until it listens. */
async function start(flags: readonly string[], options: TerminalOptions = {}): Promise<Started> {
  const signal = new AbortController();
  const argv = ["serve", model, "--port", "0", "--context", "64", "--json", ...flags];
  let listens = (_: string) => {};
  const line = new Promise<string>((resolve) => (listens = resolve));
  const outcome = flashwick(argv, { signal: signal.signal, onOut: (text) => listens(text), ...options });
  const { url, model: name } = JSON.parse(
    await Promise.race([line, outcome.then(({ err }) => Promise.reject(new Error(err)))]),
  );
  return { url, model: name, stop: () => signal.abort(), outcome };
}

const complete = (url: string, body: object, headers: Record<string, string> = {}) =>
  fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({
      model: "tiny.gguf",
      prompt: "that which nobody may see",
      max_tokens: 4,
      temperature: 0,
      ...body,
    }),
  });

it("says that nobody checks the weights of a file without checksums", async () => {
  const { stop, outcome } = await start([]);
  stop();
  expect((await outcome).err).toContain("no checksums: the weights are not checked");
});

it("prints one line of JSON when it listens, serves, and ends with 130 after a signal", async () => {
  const { url, model: name, stop, outcome } = await start([]);
  expect([name, new URL(url).hostname]).toEqual(["tiny.gguf", "127.0.0.1"]);
  const answer = await (await complete(url, {})).json();
  const alone = await flashwick(["run", model, "--prompt", "that which nobody may see", "--max-tokens", "4", "--json"]);
  expect(answer.choices[0].text).toBe(JSON.parse(alone.out).text);
  stop();
  const { status, out, err } = await outcome;
  expect([status, out.split("\n")]).toEqual([130, [JSON.stringify({ url, model: "tiny.gguf" }), ""]]);
  expect(err).toContain("POST /v1/completions 200");
  expect(err).not.toContain("nobody may see");
  await expect(fetch(`${url}/health`)).rejects.toThrow();
});

it("lets a text end that was there before the signal", async () => {
  const { url, stop, outcome } = await start(["--max-sequences", "1"]);
  const response = await complete(url, { max_tokens: 40, stream: true });
  stop();
  expect(await response.text()).toMatch(/"finish_reason":"(length|stop)".*data: \[DONE\]/s);
  expect((await outcome).status).toBe(130);
});

it("takes a key from the environment, which neither output nor notes show", async () => {
  const { url, stop, outcome } = await start([], { env: { FLASHWICK_API_KEY: "a-hidden-key" } });
  expect((await complete(url, {})).status).toBe(401);
  expect((await complete(url, {}, { authorization: "Bearer a-hidden-key" })).status).toBe(200);
  stop();
  const { out, err } = await outcome;
  expect(out + err).not.toContain("a-hidden-key");
});

it("keeps to a rate, and labels what it answers", async () => {
  const { url, stop, outcome } = await start(["--rate", "1", "--replica-id", "left", "--quiet"]);
  const responses = [await complete(url, {}), await complete(url, {})];
  expect(responses.map(({ status }) => status)).toEqual([200, 429]);
  expect(responses[0]!.headers.get("x-replica-id")).toBe("left");
  stop();
  expect((await outcome).err).toBe("");
});

it("keeps beginnings of prompts in a folder, for a server that comes after it", async () => {
  const flags = ["--prefix-cache", join(dir, "prefixes"), "--prefix-cache-size", "8MiB"];
  const prompt = "that which was with them ".repeat(3);
  const cached = [];
  for (const _ of ["first", "second"]) {
    const { url, stop, outcome } = await start(flags);
    const { usage } = await (await complete(url, { prompt })).json();
    cached.push(usage.prompt_tokens_details.cached_tokens);
    stop();
    await outcome;
  }
  expect([cached[0], cached[1]! >= 16]).toEqual([0, true]);
});

it("listens beyond this machine only with a key, and says what to do", async () => {
  const { status, err } = await flashwick(["serve", model, "--host", "0.0.0.0"]);
  expect([status, err]).toEqual([2, expect.stringContaining("set FLASHWICK_API_KEY")]);
  const empty = await flashwick(["serve", model, "--host", "::"], { env: { FLASHWICK_API_KEY: "" } });
  expect(empty.status).toBe(2);
});

it("says so where something else listens already", async () => {
  const { url, stop, outcome } = await start([]);
  const { status, err } = await flashwick(["serve", model, "--port", new URL(url).port, "--context", "64"]);
  expect([status, err]).toEqual([1, expect.stringContaining("choose another host or port")]);
  stop();
  await outcome;
});

it("a signal while the model is opened ends it", async () => {
  const signal = AbortSignal.abort();
  expect((await flashwick(["serve", model], { signal })).status).toBe(130);
});
