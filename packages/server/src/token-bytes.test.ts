import { readGgufHeader } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { readTokenizer } from "@flashwick/runtime";
import { describe, expect, it } from "vitest";
import { readTokenBytes } from "./token-bytes.js";

const folder = new URL("../../runtime/fixtures/gguf-tokenizers/", import.meta.url);

async function metadataOf(name: string) {
  const source = await fileSource(new URL(`${name}.gguf`, folder).pathname);
  const { metadata } = await readGgufHeader(source);
  await source.close();
  return metadata;
}

const TEXTS = ["that which was with them", '{"a": [1, 2.5e-3, null]}', "é ü 漢字 \u{1f600}", "\t\n  x"];

describe.each(["qwen2", "llama3", "llama", "mixtral", "gemma3"])("the vocabulary of %s", (name) => {
  it.each(TEXTS)("spells %j in the bytes of its tokens", async (text) => {
    const metadata = await metadataOf(name);
    const bytes = readTokenBytes(metadata)!;
    const tokens = readTokenizer(metadata, name).encode(text, {});
    const spelled = Buffer.concat(tokens.map((token) => bytes[token]!)).toString("utf8");
    // SentencePiece begins a text with a space of its own.
    expect([text, ` ${text}`]).toContain(spelled);
  });
  it("has no bytes for control tokens", async () => {
    const metadata = await metadataOf(name);
    const types = metadata.get("tokenizer.ggml.token_type")!.value as Int32Array;
    const bytes = readTokenBytes(metadata)!;
    const control = [...types].flatMap((type, id) => (type === 3 ? [id] : []));
    expect(control.length).toBeGreaterThan(0);
    expect(control.map((id) => bytes[id])).toEqual(control.map(() => null));
  });
});

const document = {
  added_tokens: [
    { id: 3, content: "<end>", special: true },
    { id: 4, content: "\n\n", special: false },
  ],
  decoder: { type: "ByteLevel" },
  model: { type: "BPE", vocab: { a: 0, "\u0120b": 1, "\u0100": 2 } },
};
const fromJson = (json: object) =>
  readTokenBytes(new Map([["tokenizer.huggingface.json", { type: "string", value: JSON.stringify(json) }]]));

it("reads tokenizer.json: byte-level words, added tokens as they stand, special ones not at all", () => {
  const bytes = fromJson(document)!.map((token) => token && [...token]);
  expect(bytes).toEqual([[97], [32, 98], [0], null, [10, 10]]);
});

it("knows nothing of vocabularies that spell otherwise, or of none", () => {
  expect(fromJson({ ...document, decoder: { type: "WordPiece" } })).toBeNull();
  expect(fromJson({ ...document, model: { vocab: [["a", 0]] } })).toBeNull();
  expect(readTokenBytes(new Map())).toBeNull();
});

describe("a tokenizer.json of a stranger", () => {
  const document = (changes: object) =>
    readTokenBytes(
      new Map([["tokenizer.huggingface.json", { type: "string", value: JSON.stringify({ ...GOOD, ...changes }) }]]),
    );
  const GOOD = { model: { vocab: { a: 0, constructor: 1 } }, decoder: { type: "ByteLevel" } };

  it("is read", () => {
    expect(
      document({ added_tokens: [{ id: 3, content: "<s>", special: true }] })?.map((bytes) => bytes?.length),
    ).toEqual([1, 11, undefined, undefined]);
  });
  it.each([
    ["whose token has a number that made the list of tokens never end", { model: { vocab: { a: 4_294_967_294 } } }],
    ["whose added token has such a number", { added_tokens: [{ id: 4_294_967_294, content: "a" }] }],
    ["whose token's number is a word", { model: { vocab: { a: "length" } } }],
    ["whose added tokens are no list", { added_tokens: 7 }],
    ["without a vocabulary", { model: null }],
  ])("%s has no vocabulary that is known", (_, changes) => {
    expect(document(changes)).toBe(null);
  });
  it("whose decoder nests deep is looked through to its end", () => {
    const value = JSON.stringify({ ...GOOD, decoder: [0, { type: "ByteLevel" }] });
    const deep = value.replace("[0,", `[${"[".repeat(20_000)}${"]".repeat(20_000)},`);
    expect(readTokenBytes(new Map([["tokenizer.huggingface.json", { type: "string", value: deep }]]))).toHaveLength(2);
  });
  it("that is no JSON has no vocabulary that is known", () => {
    expect(readTokenBytes(new Map([["tokenizer.huggingface.json", { type: "string", value: "{" }]]))).toBe(null);
  });
});
