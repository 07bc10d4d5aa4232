/** The vocabularies of tiny models and of SmolLM2, with the ids that llama.cpp gives. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type GgufValue, readGgufHeader } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { capability } from "@flashwick/test-capabilities";

const folder = fileURLToPath(new URL("../../fixtures/gguf-tokenizers/", import.meta.url));
const readJson = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));

export interface TextCase {
  readonly text: string;
  /** Special tokens in the text are text. */
  readonly ids: readonly number[];
  /** Special tokens in the text are read; absent where that gives the same. */
  readonly idsParsed?: readonly number[];
}

interface TinyCases {
  readonly texts: readonly string[];
  readonly ids: Readonly<Record<string, readonly (readonly (readonly number[])[])[]>>;
}

const tiny: TinyCases = readJson("cases.json");

/** Names of the tiny files. */
export const TINY_VOCABULARIES: readonly string[] = Object.keys(tiny.ids);

/** What llama.cpp makes of each text with the vocabulary of a tiny file. */
export function tinyCases(name: string): TextCase[] {
  return tiny.ids[name]!.map(([ids, idsParsed], i) => ({
    text: tiny.texts[i]!,
    ids: ids!,
    ...(idsParsed && { idsParsed }),
  }));
}

export function tinyMetadata(name: string): Promise<ReadonlyMap<string, GgufValue>> {
  return metadataOf(join(folder, `${name}.gguf`));
}

export interface ChatCase {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly addGenerationPrompt: boolean;
  readonly rendered: string;
  readonly ids: readonly number[];
}

/** References for a published file, which is not in this repository. */
export const SMOLLM2: {
  readonly file: string;
  readonly tokenizer: { readonly cases: readonly TextCase[] };
  readonly chat: { readonly template: string; readonly cases: readonly ChatCase[] };
} = readJson("smollm2.json");

const { FLASHWICK_MODELS_DIR: modelsFolder } = process.env;

export const smolPath = join(modelsFolder ?? "", SMOLLM2.file);
const missing =
  modelsFolder === undefined ? "FLASHWICK_MODELS_DIR names no folder" : `${modelsFolder} has no ${SMOLLM2.file}`;
export const models = capability("models", modelsFolder !== undefined && existsSync(smolPath) ? null : missing);

export async function metadataOf(path: string): Promise<ReadonlyMap<string, GgufValue>> {
  const source = await fileSource(path);
  try {
    return (await readGgufHeader(source)).metadata;
  } finally {
    await source.close();
  }
}
