/** Text to tokens and back, by the tokenizer that the model file carries. */
import { FormatError, InputError, isFlashwickError } from "@flashwick/core";
import { Tokenizer } from "@huggingface/tokenizers";
import { hasBoundedBacktracking } from "./backtracking.js";

export interface TextTokenizer {
  /** @param special Put the special tokens of the model (BOS) around the text. */
  encode(text: string, special: boolean): number[];
  decode(tokens: readonly number[]): string;
}

/** Longest pattern that is looked at; the longest of a published tokenizer (DeepSeek's) has about 3000 characters. */
const MAX_PATTERN_LENGTH = 16_384;

/**
 * @param json A Hugging Face `tokenizer.json` document.
 * @throws {FormatError} `FORMAT_INVALID` if it is none; `FORMAT_LIMIT` if one of its regular expressions could take for ever.
 */
export function createTextTokenizer(json: string, fileName: string): TextTokenizer {
  let tokenizer: Tokenizer;
  try {
    const document = JSON.parse(json);
    checkPatterns(document, fileName);
    tokenizer = new Tokenizer(document, {});
  } catch (cause) {
    if (isFlashwickError(cause)) throw cause;
    throw new FormatError(
      "FORMAT_INVALID",
      `${fileName}: tokenizer.huggingface.json is no tokenizer that can be read (${(cause as Error).message}); convert again`,
      { cause },
    );
  }
  return {
    encode: (text, special) => tokenizer.encode(text, { add_special_tokens: special }).ids,
    // The library refuses an empty sequence.
    decode: (tokens) =>
      tokens.length === 0
        ? ""
        : tokenizer.decode([...tokens], { skip_special_tokens: true, clean_up_tokenization_spaces: false }),
  };
}

/**
 * Judges the regular expressions as the library has compiled them, before the real tokenizer is made, which already
 * normalises its added tokens.
 *
 * @throws {FormatError} `FORMAT_LIMIT`.
 */
function checkPatterns(document: Record<string, unknown>, fileName: string): void {
  for (const step of valuesIn([document.normalizer, document.pre_tokenizer, document.decoder])) {
    const source = (step as { Regex?: unknown } | null)?.Regex;
    if (typeof source !== "string" || source.length <= MAX_PATTERN_LENGTH) continue;
    throw patternError(fileName, source, `at most ${MAX_PATTERN_LENGTH} characters`);
  }
  const untrained = { ...document, model: { type: "BPE", vocab: {}, merges: [] }, added_tokens: [] };
  const { normalizer, pre_tokenizer, decoder } = new Tokenizer(untrained, {});
  for (const pattern of valuesIn([normalizer, pre_tokenizer, decoder])) {
    if (!(pattern instanceof RegExp) || hasBoundedBacktracking(pattern)) continue;
    throw patternError(fileName, pattern.source, "at most one loop that backtracks, within a word or within a gap");
  }
}

/** Every value that can be reached from `root`, each once. */
function valuesIn(root: unknown): Set<unknown> {
  const seen = new Set<unknown>([root]);
  // A set that grows while it is walked is walked to its new end; the library's steps are functions with properties.
  for (const value of seen) {
    if ((typeof value !== "object" && typeof value !== "function") || value === null) continue;
    for (const inner of Object.values(value)) seen.add(inner);
  }
  return seen;
}

function patternError(fileName: string, source: string, expected: string): FormatError {
  const shown = source.length > 80 ? `${source.slice(0, 80)}…` : source;
  return new FormatError(
    "FORMAT_LIMIT",
    `${fileName}: tokenizer.huggingface.json: expected ${expected} in a regular expression, found /${shown}/, which a text could ` +
      "make take for ever; the tokenizer is hostile or damaged, convert again from a checkpoint that you trust",
    { details: { pattern: shown } },
  );
}

/** The error of text where token ids are all there is. */
export function noTokenizerError(fileName: string): InputError {
  return new InputError(
    "INPUT_NO_TOKENIZER",
    `${fileName} carries no tokenizer, so text cannot be read or written; give token ids, or convert again from a folder ` +
      "with tokenizer.json or vocab.json and merges.txt",
  );
}
