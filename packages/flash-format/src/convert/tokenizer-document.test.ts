import { readFile } from "node:fs/promises";
import { Tokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { json, utf8 } from "./checkpoint-fixture.js";
import { memoryFolder } from "./checkpoint-folder.js";
import { readTokenizerDocument } from "./tokenizer-document.js";

const FIXTURE = new URL("../../fixtures/opt-vocab-merges/", import.meta.url);
const FILES = ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"];

let files: Map<string, Uint8Array>;
/** The tokenizer.json that the Python library wrote for the same vocabulary. */
let expected: Tokenizer;

beforeAll(async () => {
  files = new Map(
    await Promise.all(FILES.map(async (name) => [name, await readFile(new URL(name, FIXTURE))] as const)),
  );
  expected = new Tokenizer(JSON.parse(await readFile(new URL("expected-tokenizer.json", FIXTURE), "utf8")), {});
});

async function tokenizerOf(folder: ReadonlyMap<string, Uint8Array>): Promise<Tokenizer> {
  const document = await readTokenizerDocument(memoryFolder(folder));
  return new Tokenizer(JSON.parse(document!.json), {});
}

describe("readTokenizerDocument", () => {
  it.each([
    "",
    "In the beginning",
    "  Two  spaces,\ttabs\nand lines\n\n",
    " leading, trailing ",
    "don't I'll we've it's they're I'm she'd 12345 3.14 1,000,000",
    "Café naïveté — “quoted” 你好 🙂 12345",
    "e\u0301 \u00a0\u2003\u200b\r\n\u0000\u007f",
    "مرحبا שלום Привет ｆｕｌｌ 👩‍👩‍👧‍👦",
    "constructor prototype __proto__ toString",
    "before</s>after <pad> </s></s>",
    "x".repeat(500),
  ])("gives the ids of the Python library's tokenizer.json: %j", async (text) => {
    const made = await tokenizerOf(files);
    expect(made.encode(text).ids).toEqual(expected.encode(text).ids);
    expect(made.encode(text, { add_special_tokens: false }).ids).toEqual(
      expected.encode(text, { add_special_tokens: false }).ids,
    );
  });

  it("gives them for any text", async () => {
    const made = await tokenizerOf(files);
    const anyText = fc.string({
      unit: fc.oneof(
        fc.constantFrom(..." \t\n'.,aetinos09"),
        fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }),
      ),
      maxLength: 60,
    });
    // "<s>" and "<unk>" are special in the expected document only: the older files do not name them.
    fc.assert(
      fc.property(anyText, (text) => {
        expect(made.encode(text).ids).toEqual(expected.encode(text).ids);
        expect(made.decode(made.encode(text).ids)).toBe(expected.decode(expected.encode(text).ids));
      }),
      { numRuns: 300 },
    );
  });

  it("puts the first token in front only if tokenizer_config.json asks for it", async () => {
    const config = JSON.parse(new TextDecoder().decode(files.get("tokenizer_config.json")));
    const without = new Map(files).set("tokenizer_config.json", json({ ...config, add_bos_token: false }));
    expect((await tokenizerOf(without)).encode("the").ids).toEqual(
      (await tokenizerOf(files)).encode("the").ids.slice(1),
    );
    const bare = new Map([...files].filter(([name]) => name === "vocab.json" || name === "merges.txt"));
    expect((await tokenizerOf(bare)).encode("the").ids).toEqual((await tokenizerOf(without)).encode("the").ids);
  });

  it("takes special tokens as objects, as facebook/opt writes them", async () => {
    const token = {
      content: "</s>",
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: true,
      __type: "AddedToken",
    };
    const config = { add_bos_token: true, bos_token: token, eos_token: token, tokenizer_class: "GPT2Tokenizer" };
    const made = await tokenizerOf(new Map(files).set("tokenizer_config.json", json(config)));
    expect(made.encode("a </s> b").ids).toEqual(expected.encode("a </s> b").ids);
  });

  it("adds tokens beyond the vocabulary", async () => {
    const config = JSON.parse(new TextDecoder().decode(files.get("tokenizer_config.json")));
    const decoder = { 4097: { content: "<|b|>", special: true } };
    const folder = new Map(files)
      .set("added_tokens.json", json({ "<|a|>": 4096 }))
      .set("tokenizer_config.json", json({ ...config, added_tokens_decoder: decoder }));
    expect((await tokenizerOf(folder)).encode("<|a|><|b|>", { add_special_tokens: false }).ids).toEqual([4096, 4097]);
  });

  it("reads merges with Windows line ends", async () => {
    const merges = new TextDecoder().decode(files.get("merges.txt")).replaceAll("\n", "\r\n");
    const made = await tokenizerOf(new Map(files).set("merges.txt", utf8(merges)));
    expect(made.encode("In the beginning").ids).toEqual(expected.encode("In the beginning").ids);
  });

  it("keeps a word that is a property of every object", async () => {
    const vocab = JSON.parse(new TextDecoder().decode(files.get("vocab.json")));
    const folder = new Map(files).set("vocab.json", json({ ...vocab, constructor: 4096, prototype: 4097 }));
    const document = JSON.parse((await readTokenizerDocument(memoryFolder(folder)))!.json);
    expect(document.model.vocab).toMatchObject({ constructor: 4096, prototype: 4097 });
  });

  it("keeps a tokenizer.json byte for byte", async () => {
    const document = ' {"version":"1.0",  "model": {"type": "BPE"}}\n';
    const result = await readTokenizerDocument(memoryFolder(new Map(files).set("tokenizer.json", utf8(document))));
    expect(result).toEqual({ json: document, kind: "tokenizer.json" });
  });

  it("gives null where there is none", async () => {
    expect(await readTokenizerDocument(memoryFolder(new Map()))).toBeNull();
  });

  it.each([
    ["a missing merges.txt", "merges.txt", null, "CHECKPOINT_FILE", "merges.txt"],
    ["a tokenizer.json that is no JSON", "tokenizer.json", "{", "CHECKPOINT_FILE", "tokenizer.json"],
    ["a tokenizer.json without model", "tokenizer.json", "{}", "CHECKPOINT_FILE", "model"],
    ["a token without id", "vocab.json", '{"a": "b"}', "CHECKPOINT_FILE", "vocab.json"],
    ["a merge of unknown tokens", "merges.txt", "#version: 0.2\nĠ t\nqq zz\n", "CHECKPOINT_FILE", "line 3"],
    [
      "another kind of tokenizer",
      "tokenizer_config.json",
      '{"tokenizer_class":"LlamaTokenizer"}',
      "UNSUPPORTED_FEATURE",
      "LlamaTokenizer",
    ],
    [
      "a first token that is not in the vocabulary",
      "tokenizer_config.json",
      '{"add_bos_token":true,"bos_token":"<|x|>"}',
      "CHECKPOINT_FILE",
      "<|x|>",
    ],
  ])("refuses %s", async (_what, name, content, code, problem) => {
    const folder = new Map(files);
    folder.delete("special_tokens_map.json");
    if (content === null) folder.delete(name);
    else folder.set(name, utf8(content));
    await expect(readTokenizerDocument(memoryFolder(folder))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(problem),
    });
  });
});
