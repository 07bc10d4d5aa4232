/**
 * The vocabulary of a GGUF file, read from its `tokenizer.ggml.*` metadata and checked. Keys: ggml's docs/gguf.md;
 * defaults: llama.cpp's (src/llama-vocab.cpp).
 *
 * Invariants: tokens differ from each other; types, scores and merges fit the tokens; ids are those of tokens.
 */
import { InputError, UnsupportedError } from "@flashwick/core";
import { GgufMetadata, type GgufValue } from "@flashwick/flash-format";
import { type PreTokenizer, preTokenizerOf } from "./pre-tokenizers.js";

/** `tokenizer.ggml.token_type`; 0 is "undefined" and means a normal token. */
export const TOKEN_TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;
const LARGEST_TOKEN_TYPE = 6;

/** The largest published vocabularies have 256 thousand tokens and 512 thousand merges. */
const MAX_TOKENS = 2 ** 20;
const MAX_MERGES = 2 ** 21;
/** UTF-16 units of one token; published ones stay under 1000. */
const MAX_TOKEN_LENGTH = 4096;
/** Control and user-defined tokens, each looked for in every text; Gemma 3 has 6415. */
const MAX_SPECIAL_TOKENS = 2 ** 16;

/**
 * Tokens that end a turn or a text, whatever type a faulty conversion gave them: as user-defined tokens, any text could write them
 * (llama.cpp overrides their type, too).
 */
const ENDINGS: ReadonlySet<string> = new Set([
  ...["<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>"],
  ...["<EOT>", "<|end_of_text|>", "<end_of_utterance>"],
]);

interface VocabularyBase {
  readonly fileName: string;
  /** By id. */
  readonly tokens: readonly string[];
  /** u8 `[tokens]`, each a value of {@link TOKEN_TYPES}. */
  readonly types: Uint8Array;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly unknownTokenId: number | null;
  /** Whether a text stands between BOS and EOS. */
  readonly addsBos: boolean;
  readonly addsEos: boolean;
}

/** `gpt2`: byte-level BPE. */
export interface ByteLevelVocabulary extends VocabularyBase {
  readonly model: "gpt2";
  readonly preTokenizer: PreTokenizer;
  /** By falling priority; both parts and their union are tokens. */
  readonly merges: readonly (readonly [string, string])[];
}

/** `llama`: SentencePiece, where two neighbours become the token of the best score. */
export interface ScoredVocabulary extends VocabularyBase {
  readonly model: "llama";
  /** f32 `[tokens]`, the larger the better. */
  readonly scores: Float32Array;
  /** Whether a text is given a space in front. */
  readonly addsSpacePrefix: boolean;
}

export type GgufVocabulary = ByteLevelVocabulary | ScoredVocabulary;

type Metadata = ReadonlyMap<string, GgufValue>;

const MODELS = ["gpt2", "llama"] as const;

const keyOf = (field: string) => `tokenizer.ggml.${field}`;

/**
 * @param metadata Of the file's header.
 * @throws {InputError} `INPUT_NO_TOKENIZER` if there is none. {UnsupportedError} `UNSUPPORTED_TOKENIZER` listing what runs.
 * @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID`, `FORMAT_LIMIT` naming the key.
 */
export function readGgufVocabulary(metadata: Metadata, fileName: string): GgufVocabulary {
  const fields = new GgufMetadata({ metadata }, fileName, "the file is damaged, fetch it again");
  const model = readModel(fields);
  const tokens = readTokens(fields);
  const types = readTypes(fields, tokens);
  const isScored = model === "llama";
  // What a SentencePiece vocabulary's ids are where the file does not say (llama.cpp).
  const id = (name: string, usual: number) =>
    fields.optionalInteger(keyOf(`${name}_token_id`), 0, tokens.length - 1) ?? (isScored ? usual : null);
  const preTokenizer = preTokenizerOf(fields.optionalString(keyOf("pre")) ?? "default", fileName);
  const base = {
    ...{
      fileName,
      tokens,
      types,
      bosTokenId: id("bos", 1),
      eosTokenId: id("eos", 2),
      unknownTokenId: id("unknown", 0),
    },
    addsBos: fields.optionalBool(keyOf("add_bos_token")) ?? (isScored || preTokenizer.addsBos),
    addsEos: fields.optionalBool(keyOf("add_eos_token")) ?? false,
  };
  if (base.addsBos && base.bosTokenId === null) throw fields.missing(keyOf("bos_token_id"));
  if (base.addsEos && base.eosTokenId === null) throw fields.missing(keyOf("eos_token_id"));
  if (!isScored) return { ...base, model, preTokenizer, merges: readMerges(fields, tokens, types) };
  return {
    ...base,
    model,
    scores: readScores(fields, tokens.length),
    addsSpacePrefix: fields.optionalBool(keyOf("add_space_prefix")) ?? true,
  };
}

/** Whether text can only give this token where special tokens are parsed. */
export function isControl(type: number): boolean {
  return type === TOKEN_TYPES.control || type === TOKEN_TYPES.unknown;
}

function readModel(fields: GgufMetadata): (typeof MODELS)[number] {
  const name = fields.optionalString(keyOf("model"));
  const model = MODELS.find((one) => one === name);
  if (model) return model;
  const { fileName } = fields;
  if (name === null || name === "none" || name === "no_vocab") {
    throw new InputError(
      "INPUT_NO_TOKENIZER",
      `${fileName} carries no tokenizer ("tokenizer.ggml.model" is missing), so text cannot be read or written; give token ids`,
    );
  }
  const found = name.slice(0, 80);
  throw new UnsupportedError(
    "UNSUPPORTED_TOKENIZER",
    `${fileName}: metadata "tokenizer.ggml.model": expected ${MODELS.join(" or ")}, found ${JSON.stringify(found)}; give token ids`,
    { details: { found, supported: MODELS } },
  );
}

function readTokens(fields: GgufMetadata): string[] {
  const stored = fields.strings(keyOf("tokens"), MAX_TOKENS);
  if (stored.length === 0) throw fields.invalid(keyOf("tokens"), "at least one token", "none");
  const ids = new Map<string, number>();
  return stored.map((text, id) => {
    // Empty ones are padding, and differ by nothing else.
    const token = text === "" ? `[EMPTY_${id}]` : text;
    const before = ids.get(token);
    if (before !== undefined) {
      throw fields.invalid(
        keyOf("tokens"),
        "each token once",
        `${JSON.stringify(token.slice(0, 80))} as ids ${before} and ${id}`,
      );
    }
    if (token.length > MAX_TOKEN_LENGTH) {
      throw fields.limit(`${keyOf("tokens")}"[${id}]: UTF-16 units`, MAX_TOKEN_LENGTH, token.length);
    }
    ids.set(token, id);
    return token;
  });
}

function readTypes(fields: GgufMetadata, tokens: readonly string[]): Uint8Array {
  const stored = fields.optionalNumbers(keyOf("token_type"), tokens.length);
  const types = new Uint8Array(tokens.length).fill(TOKEN_TYPES.normal);
  let special = 0;
  tokens.forEach((token, id) => {
    const type = stored?.[id] ?? 0;
    if (!Number.isInteger(type) || type < 0 || type > LARGEST_TOKEN_TYPE) {
      throw fields.invalid(keyOf("token_type"), `types from 0 to ${LARGEST_TOKEN_TYPE}`, `${type} at index ${id}`);
    }
    if (type > 0) types[id] = type;
    if (ENDINGS.has(token)) types[id] = TOKEN_TYPES.control;
    if (isControl(types[id]!) || types[id] === TOKEN_TYPES.userDefined) special++;
  });
  if (special > MAX_SPECIAL_TOKENS) {
    throw fields.limit(`${keyOf("token_type")}": control and user-defined tokens`, MAX_SPECIAL_TOKENS, special);
  }
  return types;
}

function readScores(fields: GgufMetadata, count: number): Float32Array {
  const stored = fields.optionalNumbers(keyOf("scores"), count);
  if (!stored) throw fields.missing(keyOf("scores"));
  const scores = Float32Array.from(stored);
  const bad = scores.findIndex((score) => Number.isNaN(score));
  if (bad >= 0) throw fields.invalid(keyOf("scores"), "numbers", `NaN at index ${bad}`);
  return scores;
}

/** Merges that would make a control token are left out: no text becomes one. */
function readMerges(fields: GgufMetadata, tokens: readonly string[], types: Uint8Array): (readonly [string, string])[] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const merges: (readonly [string, string])[] = [];
  fields.strings(keyOf("merges"), MAX_MERGES).forEach((line, index) => {
    // A part may be a space itself.
    const cut = line.indexOf(" ", 1);
    const [left, right] = [line.slice(0, cut), line.slice(cut + 1)];
    const union = cut < 0 ? undefined : ids.get(left + right);
    if (union === undefined || !ids.has(left) || !ids.has(right)) {
      const found = `${JSON.stringify(line.slice(0, 80))} at index ${index}`;
      throw fields.invalid(keyOf("merges"), "pairs of tokens whose union is a token, too", found);
    }
    if (!isControl(types[union]!)) merges.push([left, right]);
  });
  return merges;
}
