import { describe, expect, it } from "vitest";
import { hasBoundedBacktracking } from "./backtracking.js";

const contractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const upper = String.raw`\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}`;
const lower = String.raw`\p{Ll}\p{Lm}\p{Lo}\p{M}`;

describe("patterns of published tokenizers, as they are compiled, are accepted", () => {
  it.each([
    ["GPT-2, OPT", String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`],
    ["Falcon", "[0-9][0-9][0-9]"],
    [
      "Llama 3",
      String.raw`${contractions}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    [
      "Qwen 2.5",
      String.raw`${contractions}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    ["Gemma", " "],
    [
      "GPT-4o",
      String.raw`[^\r\n\p{L}\p{N}]?[${upper}]*[${lower}]+${contractions}?|[^\r\n\p{L}\p{N}]?[${upper}]+[${lower}]*${contractions}?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    [
      "DeepSeek V3",
      String.raw`[!"#$%&'()*+,\-.\/:;<=>?@\[\\\]^_\x60{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
    ],
    ["BLOOM", " ?[^()|\\s.,!?…。，、।۔،]+"],
    ["CLIP", String.raw`<\|startoftext\|>|<\|endoftext\|>|'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`],
    ["T5", " {2,}"],
    ["a stripping normaliser", String.raw`^\s+|\s+$`],
    ["words, at the end", String.raw`(?: ?\p{L}+)+`],
  ])("%s", (_, source) => {
    expect(hasBoundedBacktracking(new RegExp(source, "gu"))).toBe(true);
  });
});

describe("patterns that can take for ever are refused", () => {
  it.each([
    ["a loop in a loop", "(a+)+$"],
    ["a loop over equal alternatives", "(a|a)*b"],
    ["a loop over alternatives of several lengths", "(a|aa)+$"],
    ["a loop whose iterations overlap", String.raw`(\w+\s?)+$`],
    ["a loop over classes that overlap", String.raw`([a-z]|[^\d])*!`],
    ["a loop over letters and marks", String.raw`(\p{L}+\p{M}*)+\d`],
    ["a loop that must come twice", "(?:a|a){2,}"],
    ["an inner loop that fails", String.raw`(?:\s*[\r\n])+`],
    ["many optional ones", "(?:a?){30}a{30}"],
    ["many counted ones", "(a{1,30}){1,30}b"],
    ["counted loops", "(?:.*a){20}"],
    ["two loops in a row", String.raw`\d+\d+x`],
    ["five loops in a row", "a*a*a*a*a*b"],
    ["a back-reference", String.raw`(a*)*\1b`],
    ["a loop looked at ahead", "(?=(a+)+$)a"],
    ["a loop looked at behind", "(?<=(a+)+b)c"],
    ["a text looked at ahead from everywhere", String.raw`(?=[\s\S]*)x`],
    ["a text gone through from everywhere", String.raw`[\s\S]*!`],
    ["the same, behind a harmless alternative", String.raw`\s+$|[^!]*!`],
    ["a long counted loop", String.raw`[\s\S]{0,100000}!`],
    ["a count that is too long to compile", "a{1000000}"],
  ])("%s", (_, source) => {
    expect(hasBoundedBacktracking(new RegExp(source, "gu"))).toBe(false);
  });
});
