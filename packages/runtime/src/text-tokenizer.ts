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

/** How many times longer all steps together may make a text; those of published tokenizers replace a character or two by one or two. */
const MAX_GROWTH = 256;
/** What a tokenizer is tried on before it is taken: a document can describe steps that fail on every text. */
const TRIAL = "Hello, world 1\n";

/**
 * @param json A Hugging Face `tokenizer.json` document.
 * @throws {FormatError} `FORMAT_INVALID` if it is none, or fails on a text; `FORMAT_LIMIT` if one of its regular expressions could take for ever, or its
 *   steps could make a text grow without end. `encode` and `decode` throw `FORMAT_INVALID` where the document fails on what they are given.
 */
export function createTextTokenizer(json: string, fileName: string): TextTokenizer {
  const tokenizer = guarded(fileName, () => {
    const document: TokenizerDocument = JSON.parse(json);
    checkPatterns(document, fileName);
    return new DocumentTokenizer(document, fileName);
  });
  tokenizer.decode(tokenizer.encode(TRIAL, true));
  return tokenizer;
}

/** A tokenizer that a document describes. */
class DocumentTokenizer implements TextTokenizer {
  readonly #document: TokenizerDocument;
  readonly #fileName: string;
  readonly #whole: Tokenizer;
  /** Made when it is first needed. */
  #unspecial: Tokenizer | null = null;

  constructor(document: TokenizerDocument, fileName: string) {
    this.#document = document;
    this.#fileName = fileName;
    this.#whole = new Tokenizer(document, {});
  }

  encode(text: string, options: boolean | EncodeOptions): number[] {
    const { addSpecial, parseSpecial } = encodeOptions(options);
    return guarded(this.#fileName, () => {
      if (!parseSpecial) this.#unspecial ??= withoutSpecial(this.#document, this.#whole);
      const tokenizer = parseSpecial ? this.#whole : this.#unspecial!;
      const { ids } = tokenizer.encode(text, { add_special_tokens: addSpecial });
      if (ids.every((id) => Number.isSafeInteger(id) && id >= 0)) return ids;
      throw new Error("a token has no number");
    });
  }

  decode(tokens: readonly number[], { special = false }: DecodeOptions = {}): string {
    // The library refuses an empty sequence.
    if (tokens.length === 0) return "";
    const options = { skip_special_tokens: !special, clean_up_tokenization_spaces: false };
    return guarded(this.#fileName, () => {
      const text: unknown = this.#whole.decode([...tokens], options);
      if (typeof text === "string") return text;
      throw new Error("a token has no text");
    });
  }
}

/** The library takes a document at its word: what it throws where that is wrong is the document's fault. */
function guarded<T>(fileName: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (isFlashwickError(cause)) throw cause;
    throw new FormatError(
      "FORMAT_INVALID",
      `${fileName}: tokenizer.huggingface.json cannot be read as a tokenizer (${(cause as Error).message}); convert again`,
      { cause },
    );
  }
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
 * @throws {FormatError} `FORMAT_LIMIT`; `FORMAT_INVALID` for a step without the pattern that it needs.
 */
function checkPatterns(document: TokenizerDocument, fileName: string): void {
  let growth = 1;
  for (const step of valuesIn([document.normalizer, document.pre_tokenizer, document.decoder])) {
    const source = (step as { Regex?: unknown } | null)?.Regex;
    if (typeof source === "string" && source.length > MAX_PATTERN_LENGTH) {
      throw patternError(fileName, source, `at most ${MAX_PATTERN_LENGTH} characters`);
    }
    if (isPatternStep(step)) growth *= growthOf(step, fileName);
  }
  if (growth > MAX_GROWTH) throw growthError(fileName, growth);
  const untrained = { ...document, model: { type: "BPE", vocab: {}, merges: [] }, added_tokens: [] };
  const { normalizer, pre_tokenizer, decoder } = new Tokenizer(untrained, {});
  for (const pattern of valuesIn([normalizer, pre_tokenizer, decoder])) {
    if (!(pattern instanceof RegExp) || hasBoundedBacktracking(pattern)) continue;
    throw patternError(fileName, pattern.source, "at most one loop that backtracks, within a word or within a gap");
  }
}

/** A step that looks for a pattern, and may put something in its place. */
interface PatternStep {
  readonly pattern?: { readonly Regex?: unknown; readonly String?: unknown } | null;
  readonly content?: unknown;
}

function isPatternStep(step: unknown): step is PatternStep {
  const { type } = (step ?? {}) as { readonly type?: unknown };
  return type === "Replace" || type === "Split";
}

/**
 * How many times longer a step can make a text.
 *
 * @throws {FormatError} `FORMAT_INVALID` for one without a pattern: the library would print it, whatever it is, and go on.
 */
function growthOf({ pattern, content }: PatternStep, fileName: string): number {
  const { Regex, String: text } = pattern ?? {};
  const found = typeof Regex === "string" ? Regex : text;
  if (typeof found !== "string") {
    throw new FormatError(
      "FORMAT_INVALID",
      `${fileName}: tokenizer.huggingface.json: expected a step that replaces or splits to have a pattern (String or Regex), found none; convert again`,
    );
  }
  const added = typeof content === "string" ? content.length : 0;
  // An expression, and a text without characters, may match between any two characters.
  const isText = typeof Regex !== "string" && found.length > 0;
  return isText ? Math.max(1, added / found.length) : 1 + added;
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

/** The error of text where token ids are all there is. */
export function noTokenizerError(fileName: string): InputError {
  return new InputError(
    "INPUT_NO_TOKENIZER",
    `${fileName} carries no tokenizer, so text cannot be read or written; give token ids, or convert again from a folder ` +
      "with tokenizer.json or vocab.json and merges.txt",
  );
}
