import { isFlashwickError } from "@flashwick/core";
import { SplitPreTokenizer } from "@huggingface/tokenizers";
import { describe, expect, it } from "vitest";
import { hasBoundedBacktracking } from "../backtracking.js";
import { PRE_TOKENIZERS, preTokenizerOf } from "./pre-tokenizers.js";

const splits = (name: string) =>
  preTokenizerOf(name, "model.gguf").patterns.map(
    (Regex) => new SplitPreTokenizer({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }),
  );

const cut = (name: string, text: string): string[] =>
  splits(name).reduce((words, split) => split.pre_tokenize(words), [text]);

describe("words", () => {
  it.each([
    ["default", "a 12345, b's  <x>`c", ["a", " ", "123", "45", ",", " b", "'", "s", "  ", "<", "x", ">", "`", "c"]],
    ["gpt-2", "a 12345, b's  <x>\n\nc", ["a", " 12345", ",", " b", "'s", " ", " <", "x", ">", "\n", "\n", "c"]],
    ["smollm", "a 123 B'S", ["a", " ", "1", "2", "3", " B", "'", "S"]],
    ["llama-bpe", "a 1234 B'S\n\n x", ["a", " ", "123", "4", " B", "'S", "\n\n", " x"]],
    ["dbrx", "(word)\n1234", ["(word", ")\n", "123", "4"]],
    ["qwen2", "a 12 B'LL..\n", ["a", " ", "1", "2", " B", "'LL", "..\n"]],
    ["qwen35", "e\u0301te 1", ["e\u0301te", " ", "1"]],
    ["falcon", "x`y 12345 a=b", ["x", "`", "y", " ", "123", "45", " a", "=", "b"]],
    ["tekken", "helloWorld 12 don't/", ["hello", "World", " ", "1", "2", " don", "'t", "/"]],
    ["gpt-4o", "helloWorld 1234 don't/\n", ["hello", "World", " ", "123", "4", " don't", "/\n"]],
    ["deepseek-v3", "a1234你好.word x", ["a", "123", "4", "你好", ".word", " x"]],
    ["deepseek-coder", "a 12\nb, 你", ["a", " ", "1", "2", "\n", "b", ",", " ", "你"]],
    ["bloom", "a, (b) c.", ["a", ", (", "b", ")", " c", "."]],
  ])("of %s", (name, text, words) => {
    expect(cut(name, text)).toEqual(words);
  });
});

it("no pattern can take for ever", () => {
  for (const name of PRE_TOKENIZERS) {
    for (const { pattern } of splits(name)) expect([name, hasBoundedBacktracking(pattern!)]).toEqual([name, true]);
  }
});

it("a name that is not known is refused, with those that are", () => {
  let error: unknown;
  try {
    preTokenizerOf("klingon", "model.gguf");
  } catch (thrown) {
    error = thrown;
  }
  expect(isFlashwickError(error) && error.code).toBe("UNSUPPORTED_TOKENIZER");
  expect((error as Error).message).toMatch(/^model\.gguf: .*llama-bpe.*qwen2.*found "klingon"/);
});
