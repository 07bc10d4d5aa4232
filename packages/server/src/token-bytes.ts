/**
 * The bytes that each token of a vocabulary writes, which a grammar is matched against. A character may span tokens, so these are bytes and not
 * texts.
 */
import type { Model } from "@flashwick/runtime";
import * as v from "valibot";

/** By token id; null for one that writes nothing: control tokens, and ids without a token. */
export type TokenBytes = readonly (Uint8Array | null)[];

type Metadata = Model["header"]["values"];

/** Types of `tokenizer.ggml.token_type` (ggml's docs/gguf.md) that no text writes: unknown, control, unused; and the one of single bytes. */
const SILENT_TYPES: ReadonlySet<number> = new Set([2, 3, 5]);
const BYTE_TYPE = 6;

/** How a vocabulary spells bytes. */
type Spelling = "byte-level" | "byte-fallback";

interface SpelledToken {
  readonly text: string;
  readonly isSilent: boolean;
  /** Spelled as text and not by the vocabulary's rule. */
  readonly isPlain: boolean;
}

/** Null where the file has no vocabulary, or one that spells its tokens in a way that is not known here. */
export function readTokenBytes(metadata: Metadata): TokenBytes | null {
  const found = fromGguf(metadata) ?? fromTokenizerJson(metadata);
  if (found === null) return null;
  const { spelling, tokens } = found;
  return Array.from(tokens, (token) => (token === undefined || token.isSilent ? null : bytesOf(token, spelling)));
}

interface SpelledVocabulary {
  readonly spelling: Spelling;
  /** By id, with holes. */
  readonly tokens: readonly (SpelledToken | undefined)[];
}

function fromGguf(metadata: Metadata): SpelledVocabulary | null {
  const model = metadata.get("tokenizer.ggml.model")?.value;
  const stored = metadata.get("tokenizer.ggml.tokens");
  if ((model !== "gpt2" && model !== "llama") || stored?.type !== "array" || stored.of !== "string") return null;
  const types = metadata.get("tokenizer.ggml.token_type");
  const typeOf = (id: number) => (types?.type === "array" ? Number(types.value[id]) : 1);
  const spelling = model === "gpt2" ? "byte-level" : "byte-fallback";
  const tokens = stored.value.map((text, id) => ({
    text,
    isSilent: text === "" || SILENT_TYPES.has(typeOf(id)),
    // What users define is text as it stands; only a token of the type byte is one.
    isPlain: typeOf(id) === 4 || (model === "llama" && isByteName(text) && typeOf(id) !== BYTE_TYPE),
  }));
  return { spelling, tokens };
}

/** Beyond any published vocabulary: an id is a place in a list, and a place that is far away makes a list that never ends. */
const MAX_TOKEN_ID = 2 ** 20;

const tokenId = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_TOKEN_ID));
const addedToken = v.object({ id: tokenId, content: v.string(), special: v.optional(v.boolean(), false) });
const tokenizerDocument = v.object({
  model: v.object({
    // Not `v.record`, which drops words such as "constructor".
    vocab: v.custom<object>((vocab) => typeof vocab === "object" && vocab !== null && !Array.isArray(vocab)),
    byte_fallback: v.optional(v.unknown()),
  }),
  decoder: v.optional(v.unknown()),
  added_tokens: v.nullish(v.array(addedToken)),
});
type TokenizerDocument = v.InferOutput<typeof tokenizerDocument>;

/** `tokenizer.json`, which our own files keep whole. */
function fromTokenizerJson(metadata: Metadata): SpelledVocabulary | null {
  const json = metadata.get("tokenizer.huggingface.json");
  const document = json?.type === "string" ? parseDocument(json.value) : null;
  const spelling = document && spellingOf(document);
  if (!document || !spelling) return null;
  const tokens: SpelledToken[] = [];
  for (const [text, id] of Object.entries(document.model.vocab)) {
    if (!v.is(tokenId, id)) return null;
    tokens[id] = { text, isSilent: false, isPlain: false };
  }
  for (const { id, content, special } of document.added_tokens ?? []) {
    tokens[id] = { text: content, isSilent: special, isPlain: true };
  }
  return { spelling, tokens };
}

function parseDocument(json: string): TokenizerDocument | null {
  try {
    const result = v.safeParse(tokenizerDocument, JSON.parse(json));
    return result.success ? result.output : null;
  } catch {
    // No JSON: whoever needs the tokenizer itself says so.
    return null;
  }
}

function spellingOf({ decoder, model }: TokenizerDocument): Spelling | null {
  if (holds(decoder, "ByteLevel")) return "byte-level";
  return model.byte_fallback === true ? "byte-fallback" : null;
}

/** Whether a text stands anywhere in a document, however deep: without recursion. */
function holds(document: unknown, text: string): boolean {
  const open: unknown[] = [document];
  for (const value of open) {
    if (value === text) return true;
    if (typeof value === "object" && value !== null) for (const inner of Object.values(value)) open.push(inner);
  }
  return false;
}

const encoder = new TextEncoder();

function bytesOf({ text, isPlain }: SpelledToken, spelling: Spelling): Uint8Array {
  if (isPlain) return encoder.encode(text);
  if (spelling === "byte-level") return spelledBytes(text) ?? encoder.encode(text);
  if (isByteName(text)) return Uint8Array.of(Number.parseInt(text.slice(3, 5), 16));
  return encoder.encode(text.replaceAll("\u2581", " "));
}

/** `<0x0A>`. */
function isByteName(text: string): boolean {
  return /^<0x[0-9A-F]{2}>$/.test(text);
}

/** The bytes that stand-ins of byte-level BPE mean; null where a character is none. */
function spelledBytes(text: string): Uint8Array | null {
  const bytes = Array.from(text, (character) => BYTE_OF.get(character));
  return bytes.includes(undefined) ? null : Uint8Array.from(bytes as number[]);
}

/** Of GPT-2's `bytes_to_unicode`: printable bytes stand for themselves, the others for characters from 256 on. */
const BYTE_OF: ReadonlyMap<string, number> = new Map(standIns().map((character, byte) => [character, byte]));

function standIns(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(isPrintable ? byte : next++);
  });
}
