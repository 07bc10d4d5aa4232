import type { GgufValue } from "@flashwick/flash-format";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TextStream } from "../text-stream.js";
import type { TextTokenizer } from "../text-tokenizer.js";
import { createGgufTokenizer } from "./gguf-tokenizer.js";
import {
  metadataOf,
  models,
  SMOLLM2,
  smolPath,
  type TextCase,
  TINY_VOCABULARIES,
  tinyCases,
  tinyMetadata,
} from "./tokenizer.fixture.js";

const array = (of: "string" | "f32" | "i32", value: readonly (string | number)[]) =>
  ({
    type: "array",
    of,
    value:
      of === "f32" ? Float32Array.from(value as number[]) : of === "i32" ? Int32Array.from(value as number[]) : value,
  }) as GgufValue;
const bool = (value: boolean): GgufValue => ({ type: "bool", value });

async function changed(name: string, changes: Readonly<Record<string, GgufValue | null>>): Promise<TextTokenizer> {
  const metadata = new Map(await tinyMetadata(name));
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) metadata.delete(`tokenizer.ggml.${key}`);
    else metadata.set(`tokenizer.ggml.${key}`, value);
  }
  return createGgufTokenizer(metadata, name);
}

function streamed(tokenizer: TextTokenizer, tokens: readonly number[]): string {
  const stream = new TextStream(tokenizer);
  return tokens.map((token) => stream.push(token)).join("") + stream.end();
}

function checkCase(tokenizer: TextTokenizer, { text, ids, idsParsed = ids }: TextCase): void {
  expect(tokenizer.encode(text, {})).toEqual(ids);
  expect(tokenizer.encode(text, { parseSpecial: true })).toEqual(idsParsed);
  expect(tokenizer.decode(ids)).toBe(text);
  expect(streamed(tokenizer, ids)).toBe(tokenizer.decode(ids, { continues: true }));
}

describe.each(TINY_VOCABULARIES)("the tokenizer of %s.gguf", (name) => {
  it.each(tinyCases(name))("gives llama.cpp's ids, and the text back: $text", async (one) => {
    expect.hasAssertions();
    checkCase(createGgufTokenizer(await tinyMetadata(name), name), one);
  });
  it("gives any text back, whole and streamed", async () => {
    const tokenizer = createGgufTokenizer(await tinyMetadata(name), name);
    // SentencePiece writes spaces as U+2581, and so cannot tell the two apart.
    const character = fc.oneof(
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }),
      fc.constantFrom("\ufffd", " ", "🙂"),
    );
    const texts = fc.string({ unit: character, maxLength: 60 }).map((text) => text.replaceAll("\u2581", "_"));
    fc.assert(
      fc.property(texts, (text) => {
        const ids = tokenizer.encode(text, {});
        expect(tokenizer.decode(ids)).toBe(text);
        expect(streamed(tokenizer, ids)).toBe(tokenizer.decode(ids, { continues: true }));
      }),
    );
  });
});

describe.skipIf(models.isMissing)(models.title("the tokenizer of SmolLM2"), () => {
  it("gives llama.cpp's ids for 93 texts, and the texts back", async () => {
    const tokenizer = createGgufTokenizer(await metadataOf(smolPath), SMOLLM2.file);
    expect(SMOLLM2.tokenizer.cases).toHaveLength(93);
    for (const one of SMOLLM2.tokenizer.cases) checkCase(tokenizer, one);
  });
});

describe("special tokens", () => {
  it("surround the text as the file says", async () => {
    const llama3 = createGgufTokenizer(await tinyMetadata("llama3"), "llama3");
    expect(llama3.encode("a", { addSpecial: true })).toEqual([475, 64]);
    expect((await changed("llama3", { add_bos_token: bool(false) })).encode("a", { addSpecial: true })).toEqual([64]);
    const both = await changed("mixtral", { add_eos_token: bool(true) });
    const [bos, ...rest] = both.encode("a", { addSpecial: true });
    expect([bos, rest.at(-1)]).toEqual([1, 2]);
    expect(both.encode("", { addSpecial: true })).toEqual([1, 2]);
  });
  it("BOS stands in front where the file does not say: llama-bpe and llama, not gpt-2", async () => {
    const unsaid = { add_bos_token: null };
    expect((await changed("llama3", unsaid)).encode("", { addSpecial: true })).toEqual([475]);
    expect((await changed("mixtral", unsaid)).encode("", { addSpecial: true })).toEqual([1]);
    expect((await changed("llama", unsaid)).encode("", { addSpecial: true })).toEqual([]);
  });
  it("true and false mean what they meant: special tokens in the text are read", async () => {
    const qwen = createGgufTokenizer(await tinyMetadata("qwen2"), "qwen2");
    expect(qwen.encode("<|im_end|>", false)).toEqual([511]);
    expect(qwen.encode("<|im_end|>", {})).not.toContain(511);
  });
  it("are left out of text unless they are asked for", async () => {
    const qwen = createGgufTokenizer(await tinyMetadata("qwen2"), "qwen2");
    const ids = qwen.encode("a<|im_end|>b", { parseSpecial: true });
    expect(qwen.decode(ids)).toBe("ab");
    expect(qwen.decode(ids, { special: true })).toBe("a<|im_end|>b");
    expect(qwen.decode([511])).toBe("");
  });
  it("no text becomes one unless they are parsed, even if merges lead there", async () => {
    const metadata = await tinyMetadata("qwen2");
    const stored = (key: string) => [...(metadata.get(`tokenizer.ggml.${key}`)!.value as readonly string[])];
    const [tokens, merges] = [stored("tokens"), stored("merges")];
    tokens[509] = "<x";
    merges.push("< x");
    const made = await changed("qwen2", {
      tokens: array("string", tokens),
      merges: array("string", merges),
      bos_token_id: null,
    });
    const ids = made.encode("<x", {});
    expect([ids, made.decode(ids), made.encode("<x", { parseSpecial: true })]).toEqual([[27, 87], "<x", [509]]);
  });
  it("nor if a whole word is called like one", async () => {
    const tokens = [...((await tinyMetadata("llama3")).get("tokenizer.ggml.tokens")!.value as readonly string[])];
    tokens[479] = "Zyx";
    const made = await changed("llama3", { tokens: array("string", tokens) });
    expect(made.encode("Zyx", {})).toEqual([57, 88, 87]);
    expect(made.encode("Zyx", { parseSpecial: true })).toEqual([479]);
  });
  it("a user-defined token is read in every text, but none that ends a turn", async () => {
    const types = Array.from({ length: 512 }, (_, id) => (id >= 509 ? 4 : 1));
    const made = await changed("qwen2", { token_type: array("i32", types) });
    expect(made.encode("<|im_start|>", {})).toEqual([510]);
    expect(made.encode("<|im_end|>", {})).not.toContain(511);
    expect(made.decode([510])).toBe("<|im_start|>");
  });
});

describe("a SentencePiece vocabulary", () => {
  const pieces = (tokens: readonly string[], scores: readonly number[], more: Record<string, GgufValue | null> = {}) =>
    changed("mixtral", {
      tokens: array("string", ["<unk>", "<s>", "</s>", ...tokens]),
      scores: array("f32", [0, 0, 0, ...scores]),
      token_type: array("i32", [2, 3, 3, ...tokens.map(() => 1)]),
      add_space_prefix: bool(false),
      ...more,
    });
  it("merges the best score first, and of equals the leftmost", async () => {
    const best = await pieces(["a", "b", "c", "ab", "bc"], [0, 0, 0, -2, -1]);
    expect(best.encode("abc", {})).toEqual([3, 7]);
    const equal = await pieces(["a", "b", "c", "bc", "ab"], [0, 0, 0, -1, -1]);
    expect(equal.encode("abc", {})).toEqual([7, 5]);
    const overlapping = await pieces(["a", "b", "ba", "ab", "aba"], [0, 0, -1, -1, -2]);
    expect(overlapping.encode("ababa", {})).toEqual([6, 7]);
  });
  it("merges characters that are no tokens themselves", async () => {
    expect((await pieces(["xy"], [-1])).encode("xy", {})).toEqual([3]);
  });
  it("gives the unknown token where there is no byte token, and no byte for a text that names one", async () => {
    const tokenizer = await pieces(["a"], [0]);
    expect(tokenizer.encode("aéa", {})).toEqual([3, 0, 3]);
    const whole = createGgufTokenizer(await tinyMetadata("gemma3"), "gemma3");
    const named = whole.encode("<0x41>", {});
    expect([whole.decode(named), named.length]).toEqual(["<0x41>", 6]);
  });
  it("keeps a space that goes on after a prompt, and drops the one that it put in front", async () => {
    const tokenizer = createGgufTokenizer(await tinyMetadata("mixtral"), "mixtral");
    const ids = tokenizer.encode("the end", {});
    expect([tokenizer.decode(ids), tokenizer.decode(ids, { continues: true })]).toEqual(["the end", " the end"]);
    expect(streamed(tokenizer, ids)).toBe(" the end");
    expect(tokenizer.decode([1, ...ids])).toBe("the end");
  });
  it("a byte order mark was lost", async () => {
    const tokenizer = createGgufTokenizer(await tinyMetadata("gemma3"), "gemma3");
    expect(tokenizer.decode(tokenizer.encode("\ufeffa", {}))).toBe("\ufeffa");
  });
});
