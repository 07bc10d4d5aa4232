/**
 * The tokenizer of a checkpoint as one Hugging Face `tokenizer.json` document.
 *
 * A checkpoint that has a tokenizer.json keeps it, byte for byte. Older ones (OPT's) have GPT-2's byte-level BPE as vocab.json and
 * merges.txt; for these the document is made as transformers makes a fast tokenizer of them (convert_slow_tokenizer.py,
 * GPT2Converter): the same token ids for every text.
 */
import { FormatError, UnsupportedError } from "@flashwick/core";
import * as v from "valibot";
import { parseDocument, readDocument, readText } from "./checkpoint-document.js";
import type { CheckpointFolder } from "./checkpoint-folder.js";

export interface TokenizerDocument {
  readonly json: string;
  readonly kind: "tokenizer.json" | "vocab+merges";
}

const MAX_TOKEN_ID = 2 ** 24;
const tokenId = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_TOKEN_ID));

const tokenFlags = {
  single_word: v.optional(v.boolean(), false),
  lstrip: v.optional(v.boolean(), false),
  rstrip: v.optional(v.boolean(), false),
  normalized: v.optional(v.boolean(), false),
};
/** A special token is a string, or an object with its matching rules. */
const specialToken = v.union([
  v.pipe(
    v.string(),
    v.transform((content) => ({ content, single_word: false, lstrip: false, rstrip: false, normalized: false })),
  ),
  v.object({ content: v.string(), ...tokenFlags }),
]);
type SpecialToken = v.InferOutput<typeof specialToken>;

const specialTokens = v.object({
  bos_token: v.nullish(specialToken),
  eos_token: v.nullish(specialToken),
  unk_token: v.nullish(specialToken),
  pad_token: v.nullish(specialToken),
  additional_special_tokens: v.nullish(v.array(specialToken)),
});
type SpecialTokens = v.InferOutput<typeof specialTokens>;

const tokenizerConfig = v.object({
  ...specialTokens.entries,
  tokenizer_class: v.nullish(v.string()),
  add_bos_token: v.nullish(v.boolean()),
  add_prefix_space: v.nullish(v.boolean()),
  added_tokens_decoder: v.nullish(
    v.record(v.string(), v.object({ content: v.string(), ...tokenFlags, special: v.optional(v.boolean(), false) })),
  ),
});
type TokenizerConfig = v.InferOutput<typeof tokenizerConfig>;

/** Token -> id. Not `v.record`, which drops keys such as "constructor": words like any other here. */
const vocabulary = v.pipe(
  v.custom<Record<string, unknown>>((value) => typeof value === "object" && value !== null, "an object of token ids"),
  v.transform((ids) => new Map(Object.entries(ids))),
  v.map(v.string(), tokenId),
);

type AddedToken = SpecialToken & { readonly id: number; readonly special: boolean };

/** Classes whose vocab.json and merges.txt mean GPT-2's byte-level BPE without further rules. */
const BYTE_LEVEL_CLASSES = ["GPT2Tokenizer", "GPT2TokenizerFast"];

/**
 * The tokenizer of a checkpoint, or null if the folder has none.
 *
 * @throws {FormatError} `CHECKPOINT_FILE` naming file and field. {UnsupportedError} `UNSUPPORTED_FEATURE` for a vocabulary of
 * another kind than GPT-2's.
 */
export async function readTokenizerDocument(
  folder: CheckpointFolder,
  signal?: AbortSignal,
): Promise<TokenizerDocument | null> {
  const has = (name: string) => folder.fileNames.includes(name);
  if (has("tokenizer.json")) {
    const json = await readText(folder, "tokenizer.json", "CHECKPOINT_FILE", signal);
    parseDocument(v.object({ model: v.object({}) }), json, "tokenizer.json", "CHECKPOINT_FILE");
    return { json, kind: "tokenizer.json" };
  }
  if (!has("vocab.json") && !has("merges.txt")) return null;
  for (const name of ["vocab.json", "merges.txt"]) {
    if (!has(name))
      throw new FormatError("CHECKPOINT_FILE", `${folder.name}: an incomplete tokenizer: ${name} is missing`);
  }
  return { json: JSON.stringify(await synthesize(folder, signal)), kind: "vocab+merges" };
}

async function synthesize(folder: CheckpointFolder, signal?: AbortSignal): Promise<unknown> {
  const readIfThere = async <const T extends v.GenericSchema>(schema: T, name: string) =>
    folder.fileNames.includes(name) ? readDocument(schema, folder, name, "CHECKPOINT_FILE", signal) : undefined;
  const config = (await readIfThere(tokenizerConfig, "tokenizer_config.json")) ?? {};
  checkClass(config);
  const vocab = await readDocument(vocabulary, folder, "vocab.json", "CHECKPOINT_FILE", signal);
  const merges = parseMerges(await readText(folder, "merges.txt", "CHECKPOINT_FILE", signal), vocab);
  const named = { ...(await readIfThere(specialTokens, "special_tokens_map.json")), ...definedFields(config) };
  const extra = (await readIfThere(vocabulary, "added_tokens.json")) ?? new Map<string, number>();
  const added = addedTokens(named, config, vocab, extra);
  const addPrefixSpace = config.add_prefix_space ?? false;
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: true },
    post_processor: postProcessor(config.add_bos_token ? bosToken(named, added) : null),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocab),
      merges,
    },
  };
}

function checkClass({ tokenizer_class }: TokenizerConfig): void {
  if (!tokenizer_class || BYTE_LEVEL_CLASSES.includes(tokenizer_class)) return;
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `tokenizer_config.json: field tokenizer_class: expected ${BYTE_LEVEL_CLASSES.join(" or ")}, found ${tokenizer_class}; add a tokenizer.json to the checkpoint (transformers: AutoTokenizer(…).save_pretrained)`,
    { details: { file: "tokenizer_config.json", field: "tokenizer_class", found: tokenizer_class } },
  );
}

/** Lines `left right`, by falling priority. A first line `#version …` is a comment. */
function parseMerges(text: string, vocab: ReadonlyMap<string, number>): [string, string][] {
  const merges: [string, string][] = [];
  for (const [number, line] of text.split(/\r?\n/).entries()) {
    if (line === "" || line.startsWith("#version")) continue;
    const [left, right, more] = line.split(" ");
    const known = left && right && more === undefined && vocab.has(left) && vocab.has(right) && vocab.has(left + right);
    if (!known) {
      throw new FormatError(
        "CHECKPOINT_FILE",
        `merges.txt line ${number + 1}: expected two tokens of vocab.json whose union is one too, found ${JSON.stringify(line.slice(0, 80))}`,
        { details: { file: "merges.txt", line: number + 1 } },
      );
    }
    merges.push([left, right]);
  }
  return merges;
}

/** Special tokens and those beyond the vocabulary, by ascending id. A named token without an id is left out: no text can give it. */
function addedTokens(
  named: SpecialTokens,
  config: TokenizerConfig,
  vocab: ReadonlyMap<string, number>,
  extra: ReadonlyMap<string, number>,
): AddedToken[] {
  const plain = { single_word: false, lstrip: false, rstrip: false };
  const byId = new Map<number, AddedToken>();
  for (const [content, id] of extra) {
    byId.set(id, { content, id, ...plain, normalized: true, special: false });
  }
  for (const [key, token] of Object.entries(config.added_tokens_decoder ?? {})) {
    byId.set(Number(key), { ...token, id: Number(key) });
  }
  const { bos_token, eos_token, unk_token, pad_token, additional_special_tokens } = named;
  for (const token of [bos_token, eos_token, unk_token, pad_token, ...(additional_special_tokens ?? [])]) {
    const id = token ? (extra.get(token.content) ?? vocab.get(token.content)) : undefined;
    if (token && id !== undefined && !byId.get(id)?.special) byId.set(id, { ...token, id, special: true });
  }
  return [...byId.values()].sort((a, b) => a.id - b.id);
}

function bosToken({ bos_token }: SpecialTokens, added: readonly AddedToken[]): AddedToken {
  const token = added.find(({ content }) => content === bos_token?.content);
  if (token) return token;
  throw new FormatError(
    "CHECKPOINT_FILE",
    `tokenizer_config.json: field add_bos_token: expected bos_token to be a token of vocab.json, found ${JSON.stringify(bos_token?.content ?? null)}`,
    { details: { file: "tokenizer_config.json", field: "bos_token" } },
  );
}

/** With a token in front: a template. Without: the step that leaves the tokens as they are. */
function postProcessor(bos: AddedToken | null): unknown {
  if (!bos) return { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true };
  const front = (type_id: number) => ({ SpecialToken: { id: bos.content, type_id } });
  const text = (id: "A" | "B", type_id: number) => ({ Sequence: { id, type_id } });
  return {
    type: "TemplateProcessing",
    single: [front(0), text("A", 0)],
    pair: [front(0), text("A", 0), front(1), text("B", 1)],
    special_tokens: { [bos.content]: { id: bos.content, ids: [bos.id], tokens: [bos.content] } },
  };
}

function definedFields<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null)) as Partial<T>;
}
