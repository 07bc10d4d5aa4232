/** The tokenizer of a GGUF file: its vocabulary, described to the tokenizer library in the terms of a `tokenizer.json`. */
import type { GgufValue } from "@flashwick/flash-format";
import { Tokenizer } from "@huggingface/tokenizers";
import { encodeOptions, type TextTokenizer, withoutSpecial } from "../text-tokenizer.js";
import {
  type ByteLevelVocabulary,
  type GgufVocabulary,
  isControl,
  readGgufVocabulary,
  type ScoredVocabulary,
  TOKEN_TYPES,
} from "./gguf-vocabulary.js";
import { ScoredMerges } from "./scored-merges.js";

/** SentencePiece writes spaces as this character. */
const SPACE = "\u2581";

/**
 * The tokens are llama.cpp's for every text, with these exceptions: overlapping special tokens are read from the left, and text never
 * becomes a control token unless special tokens are parsed.
 *
 * @param metadata Of the file's header.
 * @throws {InputError} `INPUT_NO_TOKENIZER`. {UnsupportedError} `UNSUPPORTED_TOKENIZER` for another model or pre-tokenizer, listing what runs.
 * @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID`, `FORMAT_LIMIT` naming the key.
 * Cost: 0.13 s of a core for SmolLM2's 49 thousand tokens and as many merges.
 */
export function createGgufTokenizer(metadata: ReadonlyMap<string, GgufValue>, fileName: string): TextTokenizer {
  return new GgufTokenizer(readGgufVocabulary(metadata, fileName));
}

class GgufTokenizer implements TextTokenizer {
  readonly #vocabulary: GgufVocabulary;
  /** Reads special tokens in the text. */
  readonly #whole: Tokenizer;
  readonly #unspecial: Tokenizer;

  constructor(vocabulary: GgufVocabulary) {
    this.#vocabulary = vocabulary;
    const document = vocabulary.model === "gpt2" ? byteLevelDocument(vocabulary) : scoredDocument(vocabulary);
    this.#whole = new Tokenizer(document, {});
    if (vocabulary.model === "llama") this.#whole.model = scoredModel(vocabulary);
    withholdControl(vocabulary, this.#whole);
    keepByteOrderMarks(this.#whole);
    this.#unspecial = withoutSpecial(document, this.#whole);
  }

  encode(text: string, options: Parameters<TextTokenizer["encode"]>[1]): number[] {
    const { addSpecial, parseSpecial } = encodeOptions(options);
    const { addsBos, addsEos, bosTokenId, eosTokenId } = this.#vocabulary;
    const { ids } = (parseSpecial ? this.#whole : this.#unspecial).encode(text, { add_special_tokens: false });
    if (addSpecial && addsBos) ids.unshift(bosTokenId!);
    if (addSpecial && addsEos) ids.push(eosTokenId!);
    return ids;
  }

  decode(tokens: readonly number[], { special = false, continues = false } = {}): string {
    const { types } = this.#vocabulary;
    const shown = tokens.filter((id) => types[id] !== undefined && (special || !isControl(types[id])));
    // The library refuses an empty sequence.
    if (shown.length === 0) return "";
    const text = this.#whole.decode(shown, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
    return !continues && this.#hasPrefix && text.startsWith(" ") ? text.slice(1) : text;
  }

  get #hasPrefix(): boolean {
    return this.#vocabulary.model === "llama" && this.#vocabulary.addsSpacePrefix;
  }
}

/** What a text is searched for before anything else: control tokens if they are asked for, user-defined ones always. */
function addedTokens({ tokens, types }: GgufVocabulary) {
  return tokens.flatMap((content, id) => {
    const special = isControl(types[id]!);
    if (!special && types[id] !== TOKEN_TYPES.userDefined) return [];
    return [{ id, content, special, normalized: false }];
  });
}

function byteLevelDocument(vocabulary: ByteLevelVocabulary) {
  const { preTokenizer, tokens, merges } = vocabulary;
  const { patterns, ignoresMerges: ignore_merges } = preTokenizer;
  const cuts = patterns.map((Regex) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }));
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    added_tokens: addedTokens(vocabulary),
    normalizer: null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [...cuts, bytes] },
    post_processor: null,
    decoder: bytes,
    // From entries: a token may be called "__proto__".
    model: { type: "BPE", vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges, ignore_merges },
  };
}

function scoredDocument(vocabulary: ScoredVocabulary) {
  const spaces = { type: "Replace", pattern: { String: " " }, content: SPACE };
  const prefix = { type: "Prepend", prepend: SPACE };
  const unescaped = { type: "Replace", pattern: { String: SPACE }, content: " " };
  return {
    added_tokens: addedTokens(vocabulary),
    normalizer: { type: "Sequence", normalizers: vocabulary.addsSpacePrefix ? [prefix, spaces] : [spaces] },
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: "Sequence", decoders: [unescaped, { type: "ByteFallback" }, { type: "Fuse" }] },
    // Its place is taken by ScoredMerges.
    model: { type: "BPE", vocab: {}, merges: [] },
  };
}

function scoredModel(vocabulary: ScoredVocabulary): ScoredMerges {
  const { tokens, types, scores, unknownTokenId } = vocabulary;
  const ids = new Map(tokens.map((token, id) => [token, id]));
  // The text "<0x41>" is no byte.
  const mergeable = tokens.flatMap((token, id) =>
    isControl(types[id]!) || types[id] === TOKEN_TYPES.byte ? [] : [[token, scores[id]!] as const],
  );
  const unknown = unknownTokenId === null ? null : { token: tokens[unknownTokenId]!, id: unknownTokenId };
  const model = new ScoredMerges(ids, new Map(mergeable), unknown);
  model.vocab = [...tokens];
  return model;
}

/** Text alone never gives a control token: those are found by the search for added tokens only. */
function withholdControl({ tokens, types }: GgufVocabulary, { model }: Tokenizer): void {
  tokens.forEach((token, id) => {
    if (isControl(types[id]!)) model!.tokens_to_ids.delete(token);
  });
}

/** The library's byte fallback drops a byte order mark, which is text here. */
function keepByteOrderMarks({ decoder }: Tokenizer): void {
  const steps = (decoder as { decoders?: readonly object[] } | null)?.decoders ?? [];
  for (const step of steps) {
    if ("text_decoder" in step) step.text_decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  }
}
