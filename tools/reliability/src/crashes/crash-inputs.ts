/** What the commands read: tiny models of the fixtures, made once; nothing here is ever written by a command that dies. */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { byteTokenizer } from "@flashwick/test-capabilities/byte-tokenizer";
import { type HubServer, startHub } from "@flashwick/test-capabilities/hub-server";
import { ROOT, runProgram } from "./program-run.js";

export const FLASHWICK = join(ROOT, "apps/cli/dist/flashwick.js");
const FIXTURES = join(ROOT, "packages/runtime/fixtures");
const TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom. ";

export interface CrashInputs {
  readonly folder: string;
  /** A Hugging Face folder of a tiny OPT. */
  readonly checkpoint: string;
  readonly model: string;
  readonly predictor: string;
  /** Of the model, with what neurons add. */
  readonly trace: string;
  readonly weights: string;
  readonly text: string;
  /** A mixture in llama.cpp's form, and as a model file with its trace. */
  readonly gguf: string;
  readonly mixture: string;
  readonly mixtureTrace: string;
  readonly hub: HubServer;
  readonly env: Readonly<Record<string, string>>;
}

/** Makes all of them in an empty folder. The hub is the caller's to close. Cost: ten processes, seconds. */
export async function makeInputs(folder: string): Promise<CrashInputs> {
  const inputs = await layInputs(folder);
  await deriveInputs(inputs);
  return inputs;
}

/** Only those that no command makes: checkpoint, GGUF file, text and hub. */
export async function layInputs(folder: string): Promise<CrashInputs> {
  const at = (name: string) => join(folder, name);
  const hub = await startHub();
  const inputs: CrashInputs = {
    folder,
    checkpoint: at("checkpoint"),
    ...{ model: at("tiny.gguf"), predictor: at("tiny.predictor.gguf"), trace: at("tiny.trace") },
    ...{ weights: at("tiny.safetensors"), text: at("text.txt"), gguf: at("olmoe.gguf") },
    ...{ mixture: at("mixture.gguf"), mixtureTrace: at("mixture.trace"), hub },
    env: { FLASHWICK_CACHE_DIR: at("cache"), HF_HOME: at("hf"), HF_ENDPOINT: hub.endpoint, HF_TOKEN: "" },
  };
  cpSync(join(FIXTURES, "opt-tiny-sharded"), inputs.checkpoint, { recursive: true });
  writeFileSync(join(inputs.checkpoint, "tokenizer.json"), JSON.stringify(byteTokenizer(512)));
  cpSync(join(FIXTURES, "gguf/olmoe.gguf"), inputs.gguf);
  writeFileSync(inputs.text, TEXT.repeat(30));
  serve(inputs);
  return inputs;
}

async function deriveInputs(inputs: CrashInputs): Promise<void> {
  const { model, text } = inputs;
  await flashwick(inputs, "convert", inputs.checkpoint, "-o", model);
  await flashwick(inputs, ...["train", model, "--text", text, "-o", inputs.predictor], ...TRAINING);
  const record = ["--tokens", "128", "--window-tokens", "64"];
  await flashwick(inputs, ...["trace", "record", model, "--text", text, "-o", inputs.trace], ...record);
  await flashwick(inputs, "predictor", "export", inputs.predictor, "-o", inputs.weights);
  await flashwick(inputs, "convert", inputs.gguf, "-o", inputs.mixture);
  await flashwick(inputs, ...["trace", "record", inputs.mixture, "--text", text, "-o", inputs.mixtureTrace, ...record]);
}

/** A training of a second. */
export const TRAINING = ["--tokens", "1024", "--rank", "8", "--dtype", "f32", "--epochs", "1", "--workers", "0"];

async function flashwick({ env }: CrashInputs, ...words: readonly string[]): Promise<void> {
  const { status, out, err } = await runProgram([FLASHWICK, ...words, "--json"], { env });
  if (status !== 0) throw new Error(`flashwick ${words.join(" ")} ended with ${status}: ${out}${err}`);
}

function serve({ hub, checkpoint }: CrashInputs): void {
  const revisions = { main: "c".repeat(40) };
  const bytes = (path: string) => ({ bytes: new Uint8Array(readFileSync(path)) });
  const folder = (path: string, names: readonly string[]) =>
    new Map(names.map((name) => [name, bytes(join(path, name))] as const));
  const gguf = join(FIXTURES, "gguf");
  const split = readdirSync(gguf).filter((name) => name.startsWith("falcon-7b-"));
  hub.repositories.set("tiny/one", { revisions, files: folder(gguf, ["falcon-7b.gguf"]) });
  hub.repositories.set("tiny/split", { revisions, files: folder(gguf, split) });
  hub.repositories.set("tiny/opt", { revisions, files: folder(checkpoint, readdirSync(checkpoint)) });
}

/** Puts the split model into the hub's cache, as another program of the hub's would. */
export function fillHubCache(home: string, { hub }: CrashInputs): void {
  const { revisions, files } = hub.repositories.get("tiny/split")!;
  const snapshot = join(home, "hub", "models--tiny--split", "snapshots", revisions.main!);
  mkdirSync(snapshot, { recursive: true });
  for (const [path, { bytes }] of files) writeFileSync(join(snapshot, path), bytes);
}
