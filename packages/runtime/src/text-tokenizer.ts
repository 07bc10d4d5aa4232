/** Text to tokens and back, by the tokenizer that the model file carries. */
import { FormatError, InputError, isFlashwickError } from "@flashwick/core";
import { Tokenizer } from "@huggingface/tokenizers";
import { hasBoundedBacktracking } from "./backtracking.js";

/** Whether special tokens are added, and read in the text. */
export interface EncodeOptions {
  /** Put the special tokens of the model (BOS, EOS) around the text. Default false. */
  readonly addSpecial?: boolean;
  /**
   * Read special tokens that are written out in the text, such as `<|im_end|>`; otherwise that is text like any other. Default false:
   * a user's words are never to be read so.
   */
  readonly parseSpecial?: boolean;
}

/** Whether special tokens are written out. */
export interface DecodeOptions {
  /** Write special tokens out. Default false: they are left out. */
  readonly special?: boolean;
  /** The tokens go on after others, so a space in front is the text's own. Default false. */
  readonly continues?: boolean;
}

/** Text to token ids and back. */
export interface TextTokenizer {
  /**
   * Token ids of a text.
   *
   * @param options True or false: `addSpecial`, and special tokens in the text are read.
   */
  encode(text: string, options: boolean | EncodeOptions): number[];
  /** The text of token ids; special tokens are left out unless they are asked for. */
  decode(tokens: readonly number[], options?: DecodeOptions): string;
}

/** The options as they are meant. */
export function encodeOptions(options: boolean | EncodeOptions): Required<EncodeOptions> {
  if (typeof options === "boolean") return { addSpecial: options, parseSpecial: true };
  return { addSpecial: options.addSpecial ?? false, parseSpecial: options.parseSpecial ?? false };
}

/** Longest pattern that is looked at; the longest of a published tokenizer (DeepSeek's) has about 3000 characters. */
const MAX_PATTERN_LENGTH = 16_384;

/**
 * @param json A Hugging Face `tokenizer.json` document.
 * @throws {FormatError} `FORMAT_INVALID` if it is none; `FORMAT_LIMIT` if one of its regular expressions could take for ever.
 */
export function createTextTokenizer(json: string, fileName: string): TextTokenizer {
  let tokenizer: Tokenizer;
  let document: TokenizerDocument;
  try {
    document = JSON.parse(json);
    checkPatterns(document, fileName);
    tokenizer = new Tokenizer(document, {});
  } catch (cause) {
    if (isFlashwickError(cause)) throw cause;
    throw new FormatError(
      "FORMAT_INVALID",
      `${fileName}: tokenizer.huggingface.json cannot be read as a tokenizer (${(cause as Error).message}); convert again`,
      { cause },
    );
  }
  let unspecial: Tokenizer | null = null;
  return {
    encode: (text, options) => {
      const { addSpecial, parseSpecial } = encodeOptions(options);
      if (!parseSpecial) unspecial ??= withoutSpecial(document, tokenizer);
      return (unspecial && !parseSpecial ? unspecial : tokenizer).encode(text, { add_special_tokens: addSpecial }).ids;
    },
    // The library refuses an empty sequence.
    decode: (tokens, { special = false } = {}) =>
      tokens.length === 0
        ? ""
        : tokenizer.decode([...tokens], { skip_special_tokens: !special, clean_up_tokenization_spaces: false }),
  };
}

type TokenizerDocument = Record<string, unknown> & {
  readonly added_tokens?: readonly { readonly special?: boolean }[];
};

/** The same tokenizer, for which special tokens in a text are text. It shares the vocabulary. */
export function withoutSpecial(document: TokenizerDocument, whole: Tokenizer): Tokenizer {
  const { added_tokens = [] } = document;
  const ordinary = added_tokens.filter(({ special }) => !special);
  const model = { type: "BPE", vocab: {}, merges: [] };
  const tokenizer = new Tokenizer({ ...document, added_tokens: ordinary, model }, {});
  tokenizer.model = whole.model;
  return tokenizer;
}

/**
 * Judges the regular expressions as the library has compiled them, before the real tokenizer is made, which already
 * normalises its added tokens.
 *
 * @throws {FormatError} `FORMAT_LIMIT`.
 */
function checkPatterns(document: TokenizerDocument, fileName: string): void {
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
      "make run forever; the tokenizer is hostile or damaged, convert again from a checkpoint that you trust",
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
