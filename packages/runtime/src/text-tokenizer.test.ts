import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isFlashwickError } from "@flashwick/core";
import { describe, expect, it } from "vitest";
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
