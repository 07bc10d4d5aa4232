import { isFlashwickError } from "@flashwick/core";
import type { GgufValue } from "@flashwick/flash-format";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createGgufTokenizer } from "./gguf-tokenizer.js";
import { readGgufVocabulary } from "./gguf-vocabulary.js";

const strings = (value: readonly string[]): GgufValue => ({ type: "array", of: "string", value });
const types = (value: readonly number[]): GgufValue => ({ type: "array", of: "i32", value: Int32Array.from(value) });
const scores = (value: readonly number[]): GgufValue => ({ type: "array", of: "f32", value: Float32Array.from(value) });
const text = (value: string): GgufValue => ({ type: "string", value });
const u32 = (value: number): GgufValue => ({ type: "u32", value });
const bool = (value: boolean): GgufValue => ({ type: "bool", value });

type Fields = Readonly<Record<string, GgufValue>>;
const BYTE_LEVEL: Fields = {
  model: text("gpt2"),
  pre: text("gpt-2"),
  tokens: strings(["a", "b", "ab", "<end>"]),
  token_type: types([1, 1, 1, 3]),
  merges: strings(["a b"]),
};
const SCORED: Fields = {
  model: text("llama"),
  tokens: strings(["<unk>", "<s>", "</s>", "a", "b", "ab"]),
  token_type: types([2, 3, 3, 1, 1, 1]),
  scores: scores([0, 0, 0, -1, -2, -3]),
};

const metadata = (fields: Fields) =>
  new Map(Object.entries(fields).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));

function failure(fields: Fields): string {
  try {
    readGgufVocabulary(metadata(fields), "model.gguf");
    return "none";
  } catch (error) {
    if (!isFlashwickError(error)) throw error;
    expect(error.message).toMatch(/^model\.gguf/);
    return error.code;
  }
}

it.each([BYTE_LEVEL, SCORED])("a sound vocabulary is read", (fields) => {
  const { tokens } = readGgufVocabulary(metadata(fields), "model.gguf");
  expect(strings(tokens)).toEqual(fields.tokens);
});

describe("a damaged or hostile vocabulary is a typed error", () => {
  const long = "a".repeat(5000);
  it.each<[string, string, Fields]>([
    ["no tokenizer", "INPUT_NO_TOKENIZER", {}],
    ["a model that we have not", "UNSUPPORTED_TOKENIZER", { ...SCORED, model: text("t5") }],
    ["a pre-tokenizer that we have not", "UNSUPPORTED_TOKENIZER", { ...BYTE_LEVEL, pre: text("kimi-k2") }],
    ["a model that is no text", "FORMAT_INVALID", { ...SCORED, model: u32(1) }],
    ["no tokens at all", "FORMAT_INVALID", { ...BYTE_LEVEL, tokens: strings([]), token_type: types([]) }],
    ["tokens that are numbers", "FORMAT_INVALID", { ...BYTE_LEVEL, tokens: types([1, 2]) }],
    ["a token twice", "FORMAT_INVALID", { ...BYTE_LEVEL, tokens: strings(["a", "b", "ab", "a"]) }],
    ["a token of 5000 characters", "FORMAT_LIMIT", { ...BYTE_LEVEL, tokens: strings(["a", "b", "ab", long]) }],
    ["a million tokens too many", "FORMAT_LIMIT", { ...BYTE_LEVEL, tokens: strings(new Array(2 ** 21).fill("a")) }],
    ["fewer types than tokens", "FORMAT_INVALID", { ...BYTE_LEVEL, token_type: types([1]) }],
    ["a type that does not exist", "FORMAT_INVALID", { ...BYTE_LEVEL, token_type: types([1, 1, 7, 1]) }],
    ["a negative type", "FORMAT_INVALID", { ...BYTE_LEVEL, token_type: types([1, -1, 1, 1]) }],
    ["more scores than tokens", "FORMAT_INVALID", { ...SCORED, scores: scores([0, 0, 0, 0, 0, 0, 0]) }],
    ["a score that is no number", "FORMAT_INVALID", { ...SCORED, scores: scores([0, 0, 0, Number.NaN, 0, 0]) }],
    ["scores that are text", "FORMAT_INVALID", { ...SCORED, scores: strings(["0", "0", "0", "0", "0", "0"]) }],
    ["a merge of one part", "FORMAT_INVALID", { ...BYTE_LEVEL, merges: strings(["ab"]) }],
    ["a merge of nothing", "FORMAT_INVALID", { ...BYTE_LEVEL, merges: strings([""]) }],
    ["a merge of three parts", "FORMAT_INVALID", { ...BYTE_LEVEL, merges: strings(["a b ab"]) }],
    ["a merge of what is no token", "FORMAT_INVALID", { ...BYTE_LEVEL, merges: strings(["a c"]) }],
    ["a merge into what is no token", "FORMAT_INVALID", { ...BYTE_LEVEL, merges: strings(["b a"]) }],
    ["a BOS beyond the vocabulary", "FORMAT_INVALID", { ...BYTE_LEVEL, bos_token_id: u32(4) }],
    ["a BOS that is a text", "FORMAT_INVALID", { ...BYTE_LEVEL, bos_token_id: text("a") }],
    ["a BOS to add that is none", "FORMAT_MISSING", { ...BYTE_LEVEL, add_bos_token: bool(true) }],
    ["an EOS to add that is none", "FORMAT_MISSING", { ...BYTE_LEVEL, add_eos_token: bool(true) }],
    ["a switch that is a number", "FORMAT_INVALID", { ...SCORED, add_space_prefix: u32(1) }],
    [
      "more control tokens than any text could be searched for",
      "FORMAT_LIMIT",
      {
        ...BYTE_LEVEL,
        tokens: strings(Array.from({ length: 70_000 }, (_, i) => `<${i}>`)),
        token_type: types(new Array(70_000).fill(3)),
      },
    ],
  ])("%s: %s", (_, code, fields) => {
    expect(failure(fields)).toBe(code);
  });
  it.each(["tokens", "merges"])("no %s", (key) => {
    const { [key]: _, ...rest } = BYTE_LEVEL;
    expect(failure(rest)).toBe("FORMAT_MISSING");
  });
  it("no scores", () => {
    const { scores: _, ...rest } = SCORED;
    expect(failure(rest)).toBe("FORMAT_MISSING");
  });
});

it("empty tokens are padding, and several may stand in one vocabulary", () => {
  const tokens = strings(["a", "b", "ab", "", ""]);
  const { tokens: read } = readGgufVocabulary(
    metadata({ ...BYTE_LEVEL, tokens, token_type: types([1, 1, 1, 1, 1]) }),
    "m",
  );
  expect(read.slice(3)).toEqual(["[EMPTY_3]", "[EMPTY_4]"]);
});

it("words of JavaScript are tokens like any other", () => {
  const tokens = ["__proto__", "constructor", "_", "p"];
  const fields = { ...BYTE_LEVEL, tokens: strings(tokens), token_type: types([4, 4, 1, 1]), merges: strings([]) };
  const tokenizer = createGgufTokenizer(metadata(fields), "m");
  expect(tokenizer.encode("__proto__constructor_", {})).toEqual([0, 1, 2]);
  expect(tokenizer.decode([0, 1])).toBe("__proto__constructor");
});

it("whatever the metadata holds, it is refused with a typed error or makes a tokenizer that ends", () => {
  const word = fc.string({ maxLength: 4, unit: fc.constantFrom("a", "b", "▁", " ", "<", "é", "") });
  const value = fc.oneof(
    fc.array(word, { maxLength: 8 }).map(strings),
    fc.uniqueArray(word, { minLength: 3, maxLength: 8 }).map(strings),
    fc.array(fc.integer({ min: -1, max: 7 }), { maxLength: 8 }).map(types),
    fc.array(fc.float(), { maxLength: 8 }).map(scores),
    word.map(text),
    fc.constantFrom("gpt2", "llama", "default", "qwen2").map(text),
    fc.nat(9).map(u32),
    fc.boolean().map(bool),
    fc.bigInt({ min: 0n, max: 9n }).map((one): GgufValue => ({ type: "u64", value: one })),
  );
  const keys = ["model", "pre", "tokens", "token_type", "scores", "merges", "bos_token_id", "eos_token_id"];
  const more = ["unknown_token_id", "add_bos_token", "add_eos_token", "add_space_prefix"];
  let made = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(BYTE_LEVEL, SCORED),
      fc.dictionary(fc.constantFrom(...keys, ...more), value, { maxKeys: 2 }),
      word,
      (sound, changes, content) => {
        try {
          const tokenizer = createGgufTokenizer(metadata({ ...sound, ...changes }), "model.gguf");
          const ids = tokenizer.encode(content, { addSpecial: true, parseSpecial: true });
          expect(ids.every((id) => Number.isInteger(id) && id >= 0)).toBe(true);
          expect(typeof tokenizer.decode(ids)).toBe("string");
          made++;
        } catch (error) {
          if (!isFlashwickError(error)) throw error;
        }
      },
    ),
    { numRuns: 2000 },
  );
  expect(made).toBeGreaterThan(100);
});
