import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { encodeGgufHeader, readGgufHeader } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, makeWorkplace } from "./tiny-checkpoint.fixture.js";

const folder = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf-tokenizers/", import.meta.url));
const foreign = join(folder, "qwen2.gguf");
const { chat } = JSON.parse(readFileSync(join(folder, "smollm2.json"), "utf8"));

let dir: string;
let ours: string;
let chatty: string;
beforeAll(async () => {
  const workplace = makeWorkplace();
  dir = workplace.dir;
  ours = join(dir, "tiny.gguf");
  expect((await flashwick(["convert", workplace.checkpoint, "-o", ours])).status).toBe(0);
  chatty = join(dir, "chatty.gguf");
  const source = await fileSource(foreign);
  const { metadata } = await readGgufHeader(source);
  await source.close();
  const template = { type: "string", value: chat.template } as const;
  writeFileSync(
    chatty,
    encodeGgufHeader({ metadata: new Map([...metadata, ["tokenizer.chat_template", template]]), tensors: [] }).bytes,
  );
});
afterAll(() => rmSync(dir, { recursive: true }));

const json = async (...argv: string[]) => (await flashwickJson(["tokenize", ...argv])).document;
const write = (name: string, content: unknown) => {
  const path = join(dir, name);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
};

describe("tokenize", () => {
  it("turns text into ids and pieces, with a file of ours", async () => {
    const document = await json(ours, "--text", "hé");
    expect(document.pieces).toEqual(["h", "\ufffd", "\ufffd"]);
    expect(await json(ours, "--decode", document.tokens.join(","))).toEqual({ text: "hé" });
    expect((await json(ours, "--text", "hé", "--special")).tokens).toEqual([2, ...document.tokens]);
  });
  it("and with one of llama.cpp's, of which only the metadata is read", async () => {
    expect(await json(foreign, "--text", "In the beginning")).toEqual({
      tokens: [40, 77, 259, 296, 70, 260, 77, 285],
      pieces: ["I", "n", " the", " be", "g", "in", "n", "ing"],
    });
    expect(await json(foreign, "--file", write("text.txt", "a<|im_end|>"), "--special")).toEqual({
      tokens: [64, 511],
      pieces: ["a", "<|im_end|>"],
    });
    expect((await json(foreign, "--text", "<|im_end|>")).tokens).not.toContain(511);
    expect(await json(foreign, "--decode", "64,511")).toEqual({ text: "a" });
    expect(await json(foreign, "--decode", "64,511", "--special")).toEqual({ text: "a<|im_end|>" });
  });
  it("renders a conversation, and gives its ids", async () => {
    const [{ messages, rendered }] = chat.cases;
    const file = write("messages.json", messages);
    const prompted = await json(chatty, "--messages", file, "--generation-prompt");
    expect(prompted.prompt).toBe(rendered);
    expect(prompted.tokens.filter((token: number) => token === 510)).toHaveLength(3);
    const { prompt, tokens } = await json(chatty, "--messages", file);
    expect(prompt).toBe(rendered.slice(0, rendered.lastIndexOf("<|im_start|>")));
    expect(await json(chatty, "--decode", tokens.join(","), "--special")).toEqual({ text: prompt });
  });
  it("prints for people, too", async () => {
    const shown = await flashwick(["tokenize", foreign, "--text", "a\n"]);
    const rows = shown.out.split("\n").map((line) => line.trim().split(/\s+/));
    expect([shown.status, ...rows]).toEqual([0, ["token", "piece"], ["64", '"a"'], ["198", '"\\n"'], [""]]);
    expect((await flashwick(["tokenize", foreign, "--decode", "64"])).out).toBe("a\n");
    const { out } = await flashwick([
      "tokenize",
      chatty,
      "--messages",
      write("hi.json", [{ role: "user", content: "hi" }]),
    ]);
    expect(out).toContain("<|im_start|>user\nhi<|im_end|>\n");
    expect(out).toMatch(/\d+ tokens: 510,/);
  });
  it.each([
    ["no chat template", "INPUT_NO_CHAT_TEMPLATE", () => [foreign, "--messages", write("m.json", [])]],
    ["no messages", "INPUT_INVALID", () => [chatty, "--messages", write("m.json", { role: "user" })]],
    ["a message without content", "INPUT_INVALID", () => [chatty, "--messages", write("m.json", [{ role: "user" }])]],
    ["no JSON", "INPUT_INVALID", () => [chatty, "--messages", write("m.json", "{")]],
    ["no file of messages", "IO_NOT_FOUND", () => [chatty, "--messages", join(dir, "none.json")]],
    ["no model", "FORMAT_NOT_GGUF", () => [write("text.gguf", "no model at all"), "--text", "a"]],
    ["no tokenizer", "INPUT_NO_TOKENIZER", () => [write("bare.gguf", ""), "--text", "a"]],
  ])("%s: %s", async (_, code, argv) => {
    const words = argv();
    if (code === "INPUT_NO_TOKENIZER")
      writeFileSync(words[0]!, encodeGgufHeader({ metadata: new Map(), tensors: [] }).bytes);
    const { status, document } = await flashwickJson(["tokenize", ...words]);
    expect([status, document.error.code]).toEqual([1, code]);
  });
  it("a damaged header of ours is found", async () => {
    const bytes = readFileSync(ours);
    bytes[bytes.indexOf("tokenizer.huggingface.json") + 60]! ^= 1;
    writeFileSync(join(dir, "damaged.gguf"), bytes);
    const { document } = await flashwickJson(["tokenize", join(dir, "damaged.gguf"), "--text", "a"]);
    expect(document.error.code).toBe("INTEGRITY_HEADER");
  });
  it.each([
    ["nothing to do", []],
    ["two things to do", ["--text", "a", "--decode", "1"]],
    ["a generation prompt of no conversation", ["--text", "a", "--generation-prompt"]],
    ["special tokens of a template", ["--messages", "m.json", "--special"]],
    ["ids that are none", ["--decode", "a"]],
  ])("%s is wrong usage", async (_, argv) => {
    const { status } = await flashwickJson(["tokenize", foreign, ...argv]);
    expect(status).toBe(2);
  });
});
