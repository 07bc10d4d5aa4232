/** The tokenizer that a file's metadata carries, whoever wrote the file. */
import type { GgufValue } from "@flashwick/flash-format";
import { createTextTokenizer, type TextTokenizer } from "../text-tokenizer.js";
import { createGgufTokenizer } from "./gguf-tokenizer.js";

/**
 * llama.cpp's vocabulary (`tokenizer.ggml.*`), or where there is none the `tokenizer.json` that our own files keep whole
 * (`tokenizer.huggingface.json`).
 *
 * @param metadata Of the file's header.
 * @throws As {@link createGgufTokenizer} and {@link createTextTokenizer}; {InputError} `INPUT_NO_TOKENIZER` if the file has neither.
 */
export function readTokenizer(metadata: ReadonlyMap<string, GgufValue>, fileName: string): TextTokenizer {
  const json = metadata.get("tokenizer.huggingface.json");
  const isOurs = !metadata.has("tokenizer.ggml.model") && json?.type === "string";
  return isOurs ? createTextTokenizer(json.value, fileName) : createGgufTokenizer(metadata, fileName);
}
