/** Test support: a tiny model of llama.cpp's with a tokenizer and a chat template, which knows tools. Its words mean nothing. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { memorySource } from "@flashwick/core";
import { encodeGgufHeader, type GgufValue, readGgufHeader } from "@flashwick/flash-format";

/** The same without a template. */
export const plainPath = fileURLToPath(new URL("../../runtime/fixtures/gguf/qwen2.gguf", import.meta.url));

export const CHAT_TEMPLATE =
  "{% for tool in tools or [] %}{{ tool.function | tojson }}\n{% endfor %}{% for message in messages %}{{ message.role }}: {{ message.content }}" +
  "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{{ '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}assistant: {% endif %}";

const ALIGNMENT = 32;

export interface ChattyModel {
  /** A fresh folder. */
  readonly folder: string;
  readonly path: string;
  readonly name: string;
}

/** @param template Null: none. */
export async function makeChattyModel(template: string | null = CHAT_TEMPLATE): Promise<ChattyModel> {
  const folder = mkdtempSync(join(tmpdir(), "flashwick-server-"));
  const name = "chatty.gguf";
  const path = join(folder, name);
  const plain = readFileSync(plainPath);
  const { metadata, tensors } = await readGgufHeader(memorySource(plain, plainPath));
  const header = (values: ReadonlyMap<string, GgufValue>) => encodeGgufHeader({ metadata: values, tensors }).bytes;
  const padded = (bytes: Uint8Array) => Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT;
  const ours = header(
    new Map([
      ...metadata,
      ...(template === null ? [] : [["tokenizer.chat_template", { type: "string", value: template }] as const]),
    ]),
  );
  const beginning = new Uint8Array(padded(ours));
  beginning.set(ours);
  writeFileSync(path, Buffer.concat([beginning, plain.subarray(padded(header(metadata)))]));
  return { folder, path, name };
}
