/** Tokenizers: the vocabulary of a GGUF file, tokenizer.json, and the regular expressions that either brings. */
import type { Random } from "@flashwick/core";
import { decodeGgufHeader, encodeGgufHeader, type GgufValue } from "@flashwick/flash-format";
import { createTextTokenizer, readTokenizer, type TextTokenizer } from "@flashwick/runtime";
import { readTokenBytes } from "@flashwick/server";
import { BrokenPromise, choiceOf, type Harness, jsonBytes, textOf } from "../harness.js";

const MiB = 2 ** 20;

/** Letters, digits, gaps, signs, characters of several units, broken ones: what patterns tell apart. */
const SAMPLE = `Hello, world! it's 12345 a\u0301\u{1f600}\ud800  \n\n\t\u00a0x${"a".repeat(300)}!${" ".repeat(300)}"${"1".repeat(60)}.<s>\ufeff`;
const TOKENS = [0, 1, 2, 5, 1, 1_000_000, -1];

/** What is more than its length to some models; only now and then, since it takes its time. */
const LONG_WORD = "a".repeat(3000);

/** Both directions; a text comes out, and numbers. */
function useTokenizer(tokenizer: TextTokenizer, isLong: boolean): void {
  if (isLong) tokenizer.encode(LONG_WORD, true);
  for (const options of [true, { parseSpecial: false }] as const) {
    const ids: unknown = tokenizer.encode(SAMPLE, options);
    if (!Array.isArray(ids)) throw new BrokenPromise("tokens that are no list");
    const text: unknown = tokenizer.decode(ids.slice(0, 50), { special: true });
    if (typeof text !== "string") throw new BrokenPromise("a text that is none");
  }
  tokenizer.decode(TOKENS);
  tokenizer.decode([]);
}

const text = (value: string): GgufValue => ({ type: "string", value });
const texts = (value: readonly string[]): GgufValue => ({ type: "array", of: "string", value });

const LETTERS = [
  "<unk>",
  "<s>",
  "</s>",
  "h",
  "e",
  "l",
  "o",
  "he",
  "ll",
  "hell",
  "hello",
  "\u2581",
  "\u2581h",
  "\u0120",
  "\u0120w",
  "<0x41>",
  "1",
  "!",
];

function vocabulary(model: "gpt2" | "llama", pre: string): Uint8Array {
  const metadata = new Map<string, GgufValue>([
    ["tokenizer.ggml.model", text(model)],
    ["tokenizer.ggml.pre", text(pre)],
    ["tokenizer.ggml.tokens", texts(LETTERS)],
    [
      "tokenizer.ggml.token_type",
      { type: "array", of: "i32", value: Int32Array.from(LETTERS, (_, i) => (i < 3 ? 3 : i === 15 ? 6 : 1)) },
    ],
    ["tokenizer.ggml.scores", { type: "array", of: "f32", value: Float32Array.from(LETTERS, (_, i) => -i) }],
    ["tokenizer.ggml.merges", texts(["h e", "l l", "he ll", "hell o"])],
    ["tokenizer.ggml.bos_token_id", { type: "u32", value: 1 }],
    ["tokenizer.ggml.eos_token_id", { type: "u32", value: 2 }],
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: true }],
    ["tokenizer.ggml.add_space_prefix", { type: "bool", value: true }],
  ]);
  return encodeGgufHeader({ metadata, tensors: [] }).bytes;
}

/** The vocabulary of a GGUF file. */
export const ggufVocabulary: Harness = {
  name: "gguf-vocabulary",
  form: "gguf",
  words: [
    ...[
      "tokenizer.ggml.model",
      "tokenizer.ggml.pre",
      "tokenizer.ggml.tokens",
      "tokenizer.ggml.merges",
      "tokenizer.ggml.scores",
      "gpt2",
    ],
    ...[
      "llama",
      "llama-bpe",
      "qwen2",
      "default",
      "smollm",
      "gpt-4o",
      "deepseek-v3",
      "tekken",
      "falcon",
      "tokenizer.ggml.unknown_token_id",
    ],
    ...[
      "h e",
      "l l",
      "<0x00>",
      "<0xFF>",
      "",
      " ",
      "__proto__",
      "constructor",
      "\u2581",
      "hello",
      "<|im_end|>",
      "tokenizer.huggingface.json",
    ],
  ],
  maxBytes: 8192,
  limits: { ms: 1000, growthBytes: 32 * MiB },
  seeds: async () => [
    ...["default", "llama-bpe", "qwen2", "smollm", "gpt-2"].map((pre) => vocabulary("gpt2", pre)),
    vocabulary("llama", "default"),
  ],
  read(input) {
    const metadata = headerOf(input);
    readTokenBytes(metadata);
    useTokenizer(readTokenizer(metadata, "model.gguf"), choiceOf(input, 16) === 0);
  },
};

function headerOf(input: Uint8Array): ReadonlyMap<string, GgufValue> {
  try {
    return decodeGgufHeader(input, "model.gguf").metadata;
  } catch {
    // What cannot be read is another harness's.
    return new Map();
  }
}

const BYTES = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const added = [
  { id: 4, content: "<s>", special: true, single_word: false, lstrip: false, rstrip: true, normalized: false },
];
const bpe = {
  type: "BPE",
  vocab: { h: 0, e: 1, he: 2, l: 3, "<unk>": 5 },
  merges: [["h", "e"]],
  unk_token: "<unk>",
  byte_fallback: false,
};

function split(Regex: string) {
  return { type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false };
}

const DOCUMENTS: readonly object[] = [
  {
    version: "1.0",
    added_tokens: added,
    normalizer: { type: "NFC" },
    pre_tokenizer: BYTES,
    post_processor: BYTES,
    decoder: BYTES,
    model: bpe,
  },
  {
    added_tokens: added,
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "\u2581" },
        { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      ],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [split(GPT2), { type: "Digits", individual_digits: true }, { ...BYTES, use_regex: false }],
    },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: { "<s>": { id: "<s>", ids: [4], tokens: ["<s>"] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: { ...bpe, byte_fallback: true, ignore_merges: true },
  },
  {
    added_tokens: added,
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: { type: "BertProcessing", sep: ["<s>", 4], cls: ["<s>", 4] },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "<unk>",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: { h: 0, e: 1, "##l": 2, "<unk>": 3 },
    },
  },
  {
    added_tokens: added,
    normalizer: { type: "Precompiled", precompiled_charsmap: "AAAA" },
    pre_tokenizer: { type: "Metaspace", replacement: "\u2581", add_prefix_space: true, prepend_scheme: "always" },
    post_processor: {
      type: "RobertaProcessing",
      sep: ["<s>", 4],
      cls: ["<s>", 4],
      trim_offsets: true,
      add_prefix_space: false,
    },
    decoder: { type: "Metaspace", replacement: "\u2581", add_prefix_space: true },
    model: {
      type: "Unigram",
      unk_id: 0,
      vocab: [
        ["<unk>", 0],
        ["\u2581h", -1.5],
        ["e", -2],
        ["l", -3],
      ],
    },
  },
];

const ATOMS = [
  "a",
  "\\p{L}",
  "\\s",
  "\\d",
  "[a-z]",
  "[^\\s]",
  ".",
  "\\w",
  "'s",
  " ?",
  "\\p{N}{1,3}",
  "[\\r\\n]",
  "\\b",
  "^",
  "$",
  "\\1",
  "[[a]&&[b]]",
  "(?i:x)",
];
const LOOPS = ["", "", "", "*", "+", "?", "{2}", "{0,50}", "*?", "++", "{1,100000}"];

/** A random expression: of such a form are those that never end. */
function expression(random: Random, depth: number): string {
  const parts = Array.from({ length: 1 + random.below(3) }, () => {
    const part =
      depth > 0 && random.below(3) === 0
        ? `${["(?:", "(", "(?=", "(?!", "(?<!"][random.below(5)]}${expression(random, depth - 1)})`
        : ATOMS[random.below(ATOMS.length)]!;
    return part + LOOPS[random.below(LOOPS.length)]!;
  });
  return random.below(3) === 0 ? `${parts.join("")}|${ATOMS[random.below(ATOMS.length)]}` : parts.join("");
}

/** tokenizer.json: any of its steps, and expressions that are made up. */
export const tokenizerDocument: Harness = {
  name: "tokenizer-json",
  form: "json",
  words: [
    ...[
      "type",
      "Regex",
      "String",
      "pattern",
      "behavior",
      "Isolated",
      "Removed",
      "MergedWithPrevious",
      "Contiguous",
      "invert",
      "normalizers",
    ],
    ...[
      "pretokenizers",
      "decoders",
      "processors",
      "NFC",
      "NFKC",
      "NFD",
      "StripAccents",
      "Lowercase",
      "Strip",
      "Replace",
      "Prepend",
      "Nmt",
    ],
    ...[
      "ByteLevel",
      "FixedLength",
      "length",
      "BPEDecoder",
      "suffix",
      "CTC",
      "Whitespace",
      "WhitespaceSplit",
      "Punctuation",
      "Digits",
      "Metaspace",
      "Split",
      "Sequence",
      "UnicodeScripts",
      "CharDelimiterSplit",
    ],
    ...[
      "BPE",
      "Unigram",
      "WordPiece",
      "WordLevel",
      "vocab",
      "merges",
      "unk_token",
      "added_tokens",
      "content",
      "special",
      "ids",
      "tokens",
    ],
    ...[
      "(a|a)*b",
      "(?:a+)+!",
      "\\s+(?!\\S)",
      "a{1,9999}",
      "[^x]*y",
      "(?<=a*)b",
      "\\p{L}+",
      "model",
      "decoder",
      "normalizer",
      "dropout",
      "fuse_unk",
    ],
  ],
  maxBytes: 64 * 1024,
  limits: { ms: 1500, growthBytes: 64 * MiB },
  seeds: async () => DOCUMENTS.map(jsonBytes),
  invent: (random) => jsonBytes({ ...DOCUMENTS[0], pre_tokenizer: split(expression(random, 3)) }),
  read(input) {
    const json = textOf(input);
    readTokenBytes(new Map([["tokenizer.huggingface.json", text(json)]]));
    useTokenizer(createTextTokenizer(json, "tokenizer.json"), choiceOf(input, 16) === 0);
  },
};
