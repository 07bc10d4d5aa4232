/** A tiny model of llama.cpp's with a tokenizer and a chat template. Its words mean nothing. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { memorySource } from "@flashwick/core";
import { encodeGgufHeader, type GgufValue, readGgufHeader } from "@flashwick/flash-format";

/** The same without a template. */
export const plainPath = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/qwen2.gguf", import.meta.url));
const TEMPLATE =
  "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
const ALIGNMENT = 32;

/** @returns `path`. */
export async function writeChattyModel(path: string): Promise<string> {
  const plain = readFileSync(plainPath);
  const { metadata, tensors } = await readGgufHeader(memorySource(plain, plainPath));
  const template: GgufValue = { type: "string", value: TEMPLATE };
  const header = (values: ReadonlyMap<string, GgufValue>) => encodeGgufHeader({ metadata: values, tensors }).bytes;
  const padded = (bytes: Uint8Array) => Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT;
  const ours = header(new Map([...metadata, ["tokenizer.chat_template", template]]));
  const beginning = new Uint8Array(padded(ours));
  beginning.set(ours);
  writeFileSync(path, Buffer.concat([beginning, plain.subarray(padded(header(metadata)))]));
  return path;
}
