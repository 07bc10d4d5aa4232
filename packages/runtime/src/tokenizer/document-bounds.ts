/**
 * How much work a `tokenizer.json` can ask for, judged from the document alone: its regular expressions, how much its steps make a text grow, and the
 * words that its model takes apart. The document comes with a model file, and the library does whatever it says.
 */
import { FormatError, showValue } from "@flashwick/core";
import { Tokenizer } from "@huggingface/tokenizers";
import { hasBoundedBacktracking } from "../backtracking.js";

/** Longest pattern that is looked at; the longest of a published tokenizer (DeepSeek's) has about 3000 characters. */
const MAX_PATTERN_LENGTH = 16_384;

/** How many times longer all steps together may make a text; those of published tokenizers replace a character or two by one or two. */
const MAX_GROWTH = 256;
/** Characters of a word that WordPiece takes apart, and of what it puts before a part: what every published tokenizer has, and a few times as much. */
const MAX_WORD_LENGTH = 100;
const MAX_PREFIX_LENGTH = 16;
/** UTF-16 units of a piece of Unigram's: at each place of a text, all pieces that begin there are held. SentencePiece makes none beyond 16 unless it is told to. */
const MAX_PIECE_LENGTH = 128;

/** A `tokenizer.json`, of which nothing is known yet. */
export type TokenizerDocument = Record<string, unknown> & {
  readonly added_tokens?: readonly { readonly special?: boolean }[];
};

/**
 * Judges a document before a tokenizer is made of it, which already normalises its added tokens. Regular expressions are judged as the library has
 * compiled them.
 *
 * @throws {FormatError} `FORMAT_LIMIT`; `FORMAT_INVALID` for a step without the pattern or the length that it needs.
 */
export function checkBounds(document: TokenizerDocument, fileName: string): void {
  checkModel(document.model, fileName);
  let growth = 1;
  for (const step of valuesIn([document.normalizer, document.pre_tokenizer, document.decoder])) {
    const source = (step as { Regex?: unknown } | null)?.Regex;
    if (typeof source === "string" && source.length > MAX_PATTERN_LENGTH) {
      throw patternError(fileName, source, `at most ${MAX_PATTERN_LENGTH} characters`);
    }
    growth *= growthOf(step as Step | null, fileName);
  }
  if (growth > MAX_GROWTH) throw growthError(fileName, growth);
  const untrained = { ...document, model: { type: "BPE", vocab: {}, merges: [] }, added_tokens: [] };
  const { normalizer, pre_tokenizer, decoder } = new Tokenizer(untrained, {});
  for (const pattern of valuesIn([normalizer, pre_tokenizer, decoder])) {
    if (!(pattern instanceof RegExp) || hasBoundedBacktracking(pattern)) continue;
    throw patternError(fileName, pattern.source, "at most one loop that backtracks, within a word or within a gap");
  }
}

/** A step, or anything else in a document. */
interface Step {
  readonly type?: unknown;
  readonly pattern?: { readonly Regex?: unknown; readonly String?: unknown } | null;
  readonly content?: unknown;
  /** What stands for a space. */
  readonly replacement?: unknown;
  readonly str_rep?: unknown;
  /** Of pieces. */
  readonly length?: unknown;
}

/** How many times longer a step can make a text. @throws As {@link replacedGrowth}, {@link checkLength}. */
function growthOf(step: Step | null, fileName: string): number {
  switch (step?.type) {
    case "Replace":
    case "Split":
      return replacedGrowth(step, fileName);
    case "Metaspace":
      // Spaces for texts without characters stand between any two characters.
      return Math.max(2, lengthOf(step.replacement), lengthOf(step.str_rep));
    case "ByteLevel":
      // A character of three bytes becomes three.
      return 3;
    case "BPEDecoder":
    case "CTC":
      return 2;
    case "FixedLength":
      checkLength(step.length, fileName);
      return 1;
    default:
      return 1;
  }
}

/** @throws {FormatError} `FORMAT_INVALID` for pieces with which a text is never cut to its end. */
function checkLength(length: unknown, fileName: string): void {
  if (Number.isSafeInteger(length) && (length as number) >= 1) return;
  throw new FormatError(
    "FORMAT_INVALID",
    `${fileName}: tokenizer.huggingface.json: expected pieces of a whole number of characters, found length ${showValue(length)}; convert again`,
  );
}

/** @throws {FormatError} `FORMAT_INVALID` for a step without a pattern: the library would print it, whatever it is, and go on. */
function replacedGrowth({ pattern, content }: Step, fileName: string): number {
  const { Regex, String: text } = pattern ?? {};
  const found = typeof Regex === "string" ? Regex : text;
  if (typeof found !== "string") {
    throw new FormatError(
      "FORMAT_INVALID",
      `${fileName}: tokenizer.huggingface.json: expected a step that replaces or splits to have a pattern (String or Regex), found none; convert again`,
    );
  }
  // An expression, and a text without characters, may match between any two characters.
  const isText = typeof Regex !== "string" && found.length > 0;
  return isText ? Math.max(1, lengthOf(content) / found.length) : 1 + lengthOf(content);
}

function lengthOf(value: unknown): number {
  return typeof value === "string" ? value.length : 0;
}

/**
 * What a model does with a word or a text that was not cut is more than its length: WordPiece tries every part of a word and writes each out, prefix
 * included, the cube of its length; Unigram holds every piece at every place.
 *
 * @throws {FormatError} `FORMAT_LIMIT`.
 */
function checkModel(model: unknown, fileName: string): void {
  const { type, vocab, ...fields } = (model ?? {}) as Record<string, unknown>;
  const most = fields.max_input_chars_per_word ?? MAX_WORD_LENGTH;
  // A model without a type may be taken for WordPiece.
  if (type !== "BPE" && type !== "Unigram" && !(typeof most === "number" && most <= MAX_WORD_LENGTH)) {
    throw modelError(fileName, `words of at most ${MAX_WORD_LENGTH} characters`, showValue(most));
  }
  const prefixLength = lengthOf(fields.continuing_subword_prefix);
  if (prefixLength > MAX_PREFIX_LENGTH) {
    throw modelError(fileName, `a prefix of at most ${MAX_PREFIX_LENGTH} characters`, `${prefixLength}`);
  }
  const long = Array.isArray(vocab) ? vocab.findIndex((entry) => lengthOf(entry?.[0]) > MAX_PIECE_LENGTH) : -1;
  if (long < 0) return;
  throw modelError(fileName, `pieces of at most ${MAX_PIECE_LENGTH} characters`, `more in piece ${long}`);
}

function modelError(fileName: string, expected: string, found: string): FormatError {
  return new FormatError(
    "FORMAT_LIMIT",
    `${fileName}: tokenizer.huggingface.json: expected ${expected}, found ${found}; the tokenizer is hostile or damaged, convert again from a checkpoint that you trust`,
    { details: { expected, found } },
  );
}

function growthError(fileName: string, growth: number): FormatError {
  return new FormatError(
    "FORMAT_LIMIT",
    `${fileName}: tokenizer.huggingface.json: expected steps that make a text at most ${MAX_GROWTH} times longer, found ` +
      `${growth.toPrecision(3)} times; the tokenizer is hostile or damaged, convert again from a checkpoint that you trust`,
    { details: { growth } },
  );
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
