/** Text to tokens and back, by the tokenizer that the model file carries. */
import { FormatError, InputError } from "@flashwick/core";
import { Tokenizer } from "@huggingface/tokenizers";

export interface TextTokenizer {
  /** @param special Put the special tokens of the model (BOS) around the text. */
  encode(text: string, special: boolean): number[];
  decode(tokens: readonly number[]): string;
}

/**
 * @param json A Hugging Face `tokenizer.json` document.
 * @throws {FormatError} `FORMAT_INVALID` if it is none.
 */
export function createTextTokenizer(json: string, fileName: string): TextTokenizer {
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(JSON.parse(json), {});
  } catch (cause) {
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

/** The error of text where token ids are all there is. */
export function noTokenizerError(fileName: string): InputError {
  return new InputError(
    "INPUT_NO_TOKENIZER",
    `${fileName} carries no tokenizer, so text cannot be read or written; give token ids, or convert again from a folder ` +
      "with tokenizer.json or vocab.json and merges.txt",
  );
}
