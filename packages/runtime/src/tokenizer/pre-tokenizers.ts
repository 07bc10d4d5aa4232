/**
 * How text is cut into words before byte-level BPE merges within each: by the name that a GGUF file states in
 * `tokenizer.ggml.pre`. Names and rules are those of llama.cpp (src/llama-vocab.cpp, llm_tokenizer_bpe). Where it has
 * rewritten a pattern for its own engine, ours is the model's own, which it quotes beside.
 *
 * Each pattern cuts what the ones before it have left whole; what lies between two matches is a word, too.
 */
import { UnsupportedError } from "@flashwick/core";

export interface PreTokenizer {
  readonly patterns: readonly string[];
  /** A word that is a token is taken whole, whatever the merges would make of it. */
  readonly ignoresMerges: boolean;
  /** Whether a text begins with BOS where the file does not say. */
  readonly addsBos: boolean;
}

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES = String.raw`\s+(?!\S)|\s+`;
const GPT_2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`;
const UPPER = String.raw`\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}`;
const LOWER = String.raw`\p{Ll}\p{Lm}\p{Lo}\p{M}`;

/** Llama 3's pattern and its kin differ in how many digits are one word. */
function wordsAndDigits(digits: string): string {
  return String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|${SPACES}`;
}

/** GPT-4o's and Tekken's: words are cut where lower case becomes upper. */
function casedWords(ending: string, digits: string): string {
  const word = (head: string, tail: string) =>
    String.raw`[^\r\n\p{L}\p{N}]?[${UPPER}]${head}[${LOWER}]${tail}${ending}`;
  return String.raw`${word("*", "+")}|${word("+", "*")}|${digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|${SPACES}`;
}

const DEEPSEEK_WORDS = String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${"`"}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|${SPACES}`;
const QWEN_3_5 = String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|${SPACES}`;

const plain = (...patterns: string[]): PreTokenizer => ({ patterns, ignoresMerges: false, addsBos: false });
const wholeWords = (...patterns: string[]): PreTokenizer => ({ patterns, ignoresMerges: true, addsBos: true });

/** A rule, and the names that mean it. */
const RULES: readonly (readonly [PreTokenizer, readonly string[]])[] = [
  [plain(String.raw`[\p{P}\$\+<=>\^~\|]+`, GPT_2, String.raw`\p{N}+`, "[0-9][0-9][0-9]"), ["default"]],
  [
    plain(GPT_2),
    [
      "gpt-2",
      "phi-2",
      "olmo",
      "mpt",
      "jais",
      "trillion",
      "gigachat",
      "mellum",
      "exaone4",
      "a.x-4.0",
      "granite-docling",
    ],
  ],
  [
    plain(String.raw`\p{N}`, GPT_2),
    ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
  ],
  [
    wholeWords(wordsAndDigits(String.raw`\p{N}{1,3}`)),
    ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
  ],
  [plain(wordsAndDigits(String.raw`\p{N}{1,3}`)), ["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"]],
  [
    plain(wordsAndDigits(String.raw`\p{N}`)),
    ["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "grok-2", "solar-open"],
  ],
  [plain(QWEN_3_5), ["qwen35"]],
  [plain(String.raw`[\p{P}\$\+<=>\^~\|${"`"}]+`, GPT_2, "[0-9][0-9][0-9]"), ["falcon"]],
  [wholeWords(casedWords("", String.raw`\p{N}`)), ["tekken"]],
  [plain(casedWords(`${CONTRACTIONS}?`, String.raw`\p{N}{1,3}`)), ["gpt-4o", "llama4", "kanana2"]],
  [plain(String.raw`\p{N}{1,3}`, "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_WORDS), ["deepseek-v3", "hunyuan-dense"]],
  [
    plain(String.raw`[\r\n]`, String.raw`\s?\p{L}+`, String.raw`\s?\p{P}+`, "[一-龥ࠀ-一가-퟿]+", String.raw`\p{N}`),
    ["deepseek-coder"],
  ],
  [plain(String.raw` ?[^(\s|.,!?…。，、।۔،)]+`), ["bloom", "poro-chat", "gpt3-finnish"]],
];

const BY_NAME: ReadonlyMap<string, PreTokenizer> = new Map(
  RULES.flatMap(([rule, names]) => names.map((name) => [name, rule] as const)),
);

/** Every name that runs. */
export const PRE_TOKENIZERS: readonly string[] = [...BY_NAME.keys()];

/** @throws {UnsupportedError} `UNSUPPORTED_TOKENIZER` listing the names that run. */
export function preTokenizerOf(name: string, fileName: string): PreTokenizer {
  const rule = BY_NAME.get(name);
  if (rule) return rule;
  throw new UnsupportedError(
    "UNSUPPORTED_TOKENIZER",
    `${fileName}: metadata "tokenizer.ggml.pre": expected one of ${PRE_TOKENIZERS.join(", ")}; found ${JSON.stringify(name.slice(0, 80))}; give token ids`,
    { details: { found: name.slice(0, 80), supported: PRE_TOKENIZERS } },
  );
}
