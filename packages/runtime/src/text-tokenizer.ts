/** Text to tokens and back, by the tokenizer that the model file carries. */
import { FormatError, InputError, isFlashwickError } from "@flashwick/core";
import { Tokenizer } from "@huggingface/tokenizers";
import { checkBounds, type TokenizerDocument } from "./tokenizer/document-bounds.js";

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
    checkBounds(document, fileName);
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

/** The same tokenizer, for which special tokens in a text are text. It shares the vocabulary. */
export function withoutSpecial(document: TokenizerDocument, whole: Tokenizer): Tokenizer {
  const { added_tokens = [] } = document;
  const ordinary = added_tokens.filter(({ special }) => !special);
  const model = { type: "BPE", vocab: {}, merges: [] };
  const tokenizer = new Tokenizer({ ...document, added_tokens: ordinary, model }, {});
  tokenizer.model = whole.model;
  return tokenizer;
}

/** The error of text where token ids are all there is. */
export function noTokenizerError(fileName: string): InputError {
  return new InputError(
    "INPUT_NO_TOKENIZER",
    `${fileName} carries no tokenizer, so text cannot be read or written; give token ids, or convert again from a folder ` +
      "with tokenizer.json or vocab.json and merges.txt",
  );
}
