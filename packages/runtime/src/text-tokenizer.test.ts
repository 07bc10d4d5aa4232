import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isFlashwickError } from "@flashwick/core";
import { describe, expect, it, vi } from "vitest";
import { createTextTokenizer } from "./text-tokenizer.js";

const demo = (name: string) =>
  JSON.parse(
    readFileSync(fileURLToPath(new URL(`../../demo-models/models/${name}/tokenizer.json`, import.meta.url)), "utf8"),
  );
const split = (Regex: string) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
const replace = (Regex: string) => ({ type: "Replace", pattern: { Regex }, content: "" });
const sequence = (kind: string, step: object) => ({ type: "Sequence", [kind]: [step] });

/** Llama 3's, as its tokenizer.json has it. */
const LLAMA_3 = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const QWEN_2_5 = LLAMA_3.replace(String.raw`\p{N}{1,3}`, String.raw`\p{N}`);

function failure(changes: object): unknown {
  try {
    createTextTokenizer(JSON.stringify({ ...demo("opt-demo"), ...changes }), "model.gguf");
    return null;
  } catch (error) {
    return error;
  }
}

describe("a hostile pattern of a tokenizer made encoding hang", () => {
  const hostile = "(?:a+)+!";
  it.each([
    ["pre_tokenizer", { pre_tokenizer: split(hostile) }],
    ["pre_tokenizer within a sequence", { pre_tokenizer: sequence("pretokenizers", split(hostile)) }],
    ["normalizer", { normalizer: replace(hostile) }],
    ["normalizer within a sequence", { normalizer: sequence("normalizers", replace(hostile)) }],
    [
      "normalizer of an added token",
      {
        normalizer: replace(hostile),
        added_tokens: [{ id: 5, content: "a".repeat(40), normalized: true, special: false }],
      },
    ],
    ["decoder", { decoder: replace(hostile) }],
    ["pattern of a megabyte", { pre_tokenizer: split("a".repeat(1e6)) }],
  ])("%s: a typed error", (_, changes) => {
    const error = failure(changes);
    expect(isFlashwickError(error) && error.code).toBe("FORMAT_LIMIT");
    expect((error as Error).message).toMatch(/^model\.gguf: .*found \/.*hostile or damaged/);
  });

  it.each([
    ["Llama 3", { pre_tokenizer: sequence("pretokenizers", split(LLAMA_3)) }],
    ["Qwen 2.5", { pre_tokenizer: sequence("pretokenizers", split(QWEN_2_5)) }],
    ["Gemma", { normalizer: replace(" ") }],
    ["a long table of a normaliser", { normalizer: { type: "NFC", precompiled_charsmap: "A".repeat(500_000) } }],
    [
      "punctuation and digits",
      { pre_tokenizer: sequence("pretokenizers", { type: "Punctuation", behavior: "Isolated" }) },
    ],
    ["digits", { pre_tokenizer: { type: "Digits", individual_digits: true } }],
    ["BERT", { pre_tokenizer: { type: "BertPreTokenizer" } }],
  ])("%s is taken", (_, changes) => {
    expect(failure(changes)).toBe(null);
  });

  it.each(["opt-demo", "falcon-demo"])("%s is taken, and text comes back", (name) => {
    const tokenizer = createTextTokenizer(JSON.stringify(demo(name)), name);
    const text = "In the beginning   God\n\n created 1234!";
    expect(tokenizer.decode(tokenizer.encode(text, false))).toBe(text);
  });

  it("special tokens in the text are read only where that is asked for", () => {
    const tokenizer = createTextTokenizer(JSON.stringify(demo("opt-demo")), "opt-demo");
    const text = "a</s>b";
    const parsed = tokenizer.encode(text, { parseSpecial: true });
    const unparsed = tokenizer.encode(text, {});
    expect(tokenizer.encode(text, false)).toEqual(parsed);
    expect(unparsed.length).toBeGreaterThan(parsed.length);
    expect([tokenizer.decode(unparsed), tokenizer.decode(parsed)]).toEqual([text, "ab"]);
    expect(tokenizer.decode(parsed, { special: true })).toBe(text);
    expect(tokenizer.encode("a", { addSpecial: true })).toEqual(tokenizer.encode("a", true));
  });
  it("what is no tokenizer at all is still named so", () => {
    const error = failure({ normalizer: undefined });
    expect(isFlashwickError(error) && error.code).toBe("FORMAT_INVALID");
  });
});

describe("a tokenizer that opened, and then", () => {
  const bpe = { type: "BPE", vocab: { h: 0, e: 1 }, merges: [] };
  const template = (single: unknown) => ({ type: "TemplateProcessing", single, pair: [], special_tokens: {} });
  const codeOf = (changes: object) => {
    const error = failure(changes);
    return isFlashwickError(error) ? error.code : error;
  };

  it.each([
    ["threw a TypeError when a text was encoded", { post_processor: template(["_"]) }],
    ["threw a TypeError when a step's behaviour was no text", { pre_tokenizer: { ...split("a"), behavior: 7 } }],
    [
      "gave tokens that are no numbers",
      { model: { ...bpe, vocab: { H: "x", e: {} } }, pre_tokenizer: null, normalizer: null },
    ],
    [
      "threw a TypeError when tokens were decoded",
      { decoder: { type: "Replace", pattern: { String: "e" }, content: { a: 1 } }, post_processor: template(7) },
    ],
  ])("%s is refused when it is opened", (_, changes) => {
    expect(codeOf(changes)).toBe("FORMAT_INVALID");
  });

  it("fails on a text that it was not tried on fails with a typed error", () => {
    const vocab = {
      ...Object.fromEntries(Array.from("Helo, wrd1\n\u0120\u010a", (letter, id) => [letter, id])),
      z: "no number",
    };
    const tokenizer = createTextTokenizer(
      JSON.stringify({ ...demo("opt-demo"), added_tokens: [], post_processor: null, model: { ...bpe, vocab } }),
      "model.gguf",
    );
    expect(tokenizer.encode("Hello", false)).toHaveLength(5);
    expect(() => tokenizer.encode("z", false)).toThrow(expect.objectContaining({ code: "FORMAT_INVALID" }));
  });

  it.each([
    ["Replace", { normalizer: { type: "Replace", pattern: { Other: "\u001b[2J" }, content: "" } }],
    ["Split", { pre_tokenizer: { type: "Split", pattern: {}, behavior: "Isolated", invert: false } }],
    ["a decoder", { decoder: { type: "Replace", content: "" } }],
  ])("printed the pattern that %s lacks is refused, and prints nothing", (_, changes) => {
    const printed = vi.spyOn(console, "warn").mockImplementation(() => {});
    expect(codeOf(changes)).toBe("FORMAT_INVALID");
    expect(printed).not.toHaveBeenCalled();
    printed.mockRestore();
  });

  it.each([
    [
      "took a word of any length apart, by its cube",
      { type: "WordPiece", max_input_chars_per_word: 1e9, unk_token: "h", continuing_subword_prefix: "##" },
    ],
    [
      "took any word apart, for no number is its limit",
      { type: "WordPiece", max_input_chars_per_word: "x", unk_token: "h", continuing_subword_prefix: "##" },
    ],
    ["did so without a type", { max_input_chars_per_word: 1e9, unk_token: "h", continuing_subword_prefix: "##" }],
    [
      "put a long prefix before every part of a word",
      { type: "WordPiece", unk_token: "h", continuing_subword_prefix: "#".repeat(17) },
    ],
    [
      "held pieces of any length at every place of a text",
      {
        type: "Unigram",
        unk_id: 0,
        vocab: [
          ["a", 0],
          ["a".repeat(129), -1],
        ],
      },
    ],
  ])("%s is refused", (_, model) => {
    expect(codeOf({ model: { vocab: { h: 0 }, ...model }, added_tokens: [], post_processor: null })).toBe(
      "FORMAT_LIMIT",
    );
  });

  it.each([0, -1, "1", null])(
    "never came to the end of a text, which it cut into pieces of %j, is refused",
    (length) => {
      expect(codeOf({ pre_tokenizer: { type: "FixedLength", length } })).toBe("FORMAT_INVALID");
    },
  );

  it("doubled a text forty times is refused", () => {
    const double = { type: "Replace", pattern: { String: "a" }, content: "aa" };
    expect(codeOf({ normalizer: { type: "Sequence", normalizers: new Array(40).fill(double) } })).toBe("FORMAT_LIMIT");
    expect(codeOf({ decoder: { type: "Sequence", decoders: new Array(40).fill(double) } })).toBe("FORMAT_LIMIT");
    expect(
      codeOf({ pre_tokenizer: { type: "Metaspace", replacement: "_".repeat(1000), prepend_scheme: "never" } }),
    ).toBe("FORMAT_LIMIT");
    expect(
      codeOf({ pre_tokenizer: { type: "Sequence", pretokenizers: new Array(40).fill({ type: "ByteLevel" }) } }),
    ).toBe("FORMAT_LIMIT");
    expect(
      codeOf({ decoder: { type: "Sequence", decoders: new Array(40).fill({ type: "BPEDecoder", suffix: "" }) } }),
    ).toBe("FORMAT_LIMIT");
    expect(codeOf({ normalizer: replace(" ") })).toBe(null);
  });
});
