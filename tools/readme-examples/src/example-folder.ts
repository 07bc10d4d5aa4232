/** The folder that an example runs in: it holds the files of this list that the example names. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { memorySource } from "@flashwick/core";
import { demoModels, mixtureDemo } from "@flashwick/demo-models";
import { createModelWriter, encodeGgufHeader, type GgufValue, readGgufHeader } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink } from "@flashwick/flash-format/node";

const { checkpointDir, predictorPath, texts } = demoModels["opt-demo"];
const { FLASHWICK_MODELS_DIR: publishedModels } = process.env;

/** What is changed about the texts that examples are run with. */
type Adapt = (text: string) => string;

/** By name: how it gets to a path. */
const FILES: Readonly<Record<string, (path: string, adapt: Adapt) => void | Promise<void>>> = {
  "opt-demo": (path) => symlinkSync(checkpointDir, path),
  "olmoe-demo": (path) => symlinkSync(mixtureDemo.checkpointDir, path),
  "opt-demo.gguf": (path) => convertDemo(checkpointDir, path),
  "olmoe-demo.gguf": (path) => convertDemo(mixtureDemo.checkpointDir, path),
  "opt-demo.predictor.gguf": (path) => symlinkSync(predictorPath, path),
  "train.txt": (path) => writeBeginning(texts.train, path),
  "held-out.txt": (path) => writeBeginning(texts.calibration, path),
  "evaluation.txt": (path) => writeBeginning(texts.evaluation, path),
  "SmolLM2-135M-Instruct.Q4_1.gguf": writeChatModel,
  "docs/serving/nginx.conf": (path, adapt) => writeFileSync(path, adapt(readFileSync(NGINX_CONFIGURATION, "utf8"))),
};

/** Enough for every example: training takes the first thousands of tokens. */
const TEXT_BYTES = 100_000;

/** @returns A new folder, which {@link removeFolder} removes. */
export async function prepareFolder(example: string, adapt: Adapt = (text) => text): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "flashwick-example-"));
  for (const [name, put] of Object.entries(FILES)) {
    if (!names(example, name)) continue;
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    await put(join(folder, name), adapt);
  }
  return folder;
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true });
}

/** Whether a text names a file, and not only a longer name that contains it. */
function names(text: string, file: string): boolean {
  const literal = file.replaceAll(".", "\\.");
  return new RegExp(`(?<![\\w./-])${literal}(?![\\w-]|\\.\\w)`).test(text);
}

async function convertDemo(from: string, path: string): Promise<void> {
  const checkpoint = await openCheckpointFolder(from);
  const sink = await fileSink(path);
  await convertCheckpoint(checkpoint, (spec) => createModelWriter(sink, spec));
}

function writeBeginning(from: string, path: string): void {
  writeFileSync(path, readFileSync(from).subarray(0, TEXT_BYTES));
}

/** The published model where it lies on this machine; else a tiny one that was given a chat template, whose words mean nothing. */
async function writeChatModel(path: string): Promise<void> {
  const published = join(publishedModels ?? "", "SmolLM2-135M-Instruct.Q4_1.gguf");
  if (publishedModels !== undefined && existsSync(published)) symlinkSync(published, path);
  else writeFileSync(path, await withTemplate(readFileSync(TINY_MODEL)));
}

const NGINX_CONFIGURATION = fileURLToPath(new URL("../../../docs/serving/nginx.conf", import.meta.url));
const TINY_MODEL = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/qwen2.gguf", import.meta.url));
const TEMPLATE =
  "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
/** Of tensors in that file. */
const ALIGNMENT = 32;

async function withTemplate(plain: Uint8Array): Promise<Uint8Array> {
  const { metadata, tensors } = await readGgufHeader(memorySource(plain, TINY_MODEL));
  const header = (values: ReadonlyMap<string, GgufValue>) => encodeGgufHeader({ metadata: values, tensors }).bytes;
  const padded = (bytes: Uint8Array) => Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT;
  const ours = header(new Map([...metadata, ["tokenizer.chat_template", { type: "string", value: TEMPLATE }]]));
  const beginning = new Uint8Array(padded(ours));
  beginning.set(ours);
  return Buffer.concat([beginning, plain.subarray(padded(header(metadata)))]);
}
