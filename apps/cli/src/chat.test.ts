/** Conversations with a tiny model of llama.cpp's that was given a chat template. Its words mean nothing. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { encodeGgufHeader, type GgufValue, readGgufHeader } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { flashwick, type TerminalOptions } from "./tiny-checkpoint.fixture.js";

const plain = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/qwen2.gguf", import.meta.url));
const TEMPLATE =
  "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
const ALIGNMENT = 32;

let dir: string;
let model: string;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "flashwick-chat-"));
  model = join(dir, "chatty.gguf");
  const source = await fileSource(plain);
  const { metadata, tensors } = await readGgufHeader(source);
  await source.close();
  const header = (values: ReadonlyMap<string, GgufValue>) => encodeGgufHeader({ metadata: values, tensors }).bytes;
  const padded = (bytes: Uint8Array) => Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT;
  const template = { type: "string", value: TEMPLATE } as const;
  const ours = header(new Map([...metadata, ["tokenizer.chat_template", template]]));
  const file = new Uint8Array(padded(ours));
  file.set(ours);
  writeFileSync(model, Buffer.concat([file, readFileSync(plain).subarray(padded(header(metadata)))]));
});
afterAll(() => rmSync(dir, { recursive: true }));

const chat = (argv: readonly string[], options?: TerminalOptions) =>
  flashwick(["chat", model, "--max-tokens", "6", "--context", "160", ...argv], options);
const replies = (out: string) =>
  out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

it("replies to each message that is given, an object a line, and ends", async () => {
  const { status, out } = await chat(["--message", "Who are you?", "--message", "And who am I?", "--json", "--quiet"]);
  expect(status).toBe(0);
  const [first, second] = replies(out);
  expect(first.message).toEqual({ role: "assistant", content: expect.any(String) });
  expect(first.message.content).not.toBe("");
  expect(first.stats.tokensPerSec).toBeGreaterThan(0);
  // The second turn computes what is new, and loads nothing.
  expect([second.stats.loadedBytes, second.stats.reusedTokens > 0]).toEqual([0, true]);
});

it("says that nobody checks the weights of a file without checksums", async () => {
  expect((await chat(["--message", "Who are you?"])).err).toContain("no checksums: the weights are not checked");
});

it("takes messages from standard input, and forgets them where it is told to", async () => {
  const input = ["Who are you?", "/reset", "Who are you?", "", "/exit", "never read"];
  const { status, out } = await chat(["--json", "--quiet"], { input });
  expect(status).toBe(0);
  const [first, again, ...more] = replies(out);
  expect(again.message).toEqual(first.message);
  expect(more).toEqual([]);
});

it("says what a reply cost, and which commands there are", async () => {
  const { err } = await chat([], { input: ["/stats", "Hello", "/stats", "/what"] });
  expect(err).toContain("nothing was said yet");
  expect(err).toContain("tokens/s");
  expect(err).toContain("/what is not a command");
});

it("goes on after a message that is too long for the context", async () => {
  const { status, out, err } = await chat(["--json"], { input: ["word ".repeat(300), "Hello"] });
  expect(status).toBe(0);
  expect(err).toContain("/reset starts a new conversation");
  expect(replies(out)).toHaveLength(1);
});

it("takes the longest context that the budget holds beside a prompt's batches, and says so", async () => {
  // As long as the model goes, 512 tokens, and one byte less than they need: a prompt would pass token by token, so the least it is.
  const flags = ["--message", "Hello", "--max-tokens", "4"];
  const refused = await flashwick(["chat", model, ...flags, "--context", "512", "--dram-budget", "1KiB"]);
  const smallest = Number(/the smallest budget that works is (\d+) bytes/.exec(refused.err)![1]);
  const { status, err } = await flashwick(["chat", model, ...flags, "--dram-budget", String(smallest - 1)]);
  expect([status, err]).toEqual([0, expect.stringContaining("leaves room for 256 tokens of text")]);
  const longer = await flashwick(["chat", model, ...flags, "--context", "511", "--dram-budget", String(smallest - 1)]);
  expect(longer.status).toBe(0);
  const none = await flashwick(["chat", model, ...flags, "--dram-budget", "1KiB"]);
  expect([none.status, none.err]).toEqual([1, expect.stringContaining("for 256 tokens of context")]);
});

it("refuses a model without a template before anybody types, and says what to do", async () => {
  const { status, err } = await flashwick(["chat", plain], { input: ["Hello"] });
  expect(status).toBe(1);
  expect(err).toContain("carries no chat template");
});
