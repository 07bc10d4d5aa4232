/** Models of the engine's tests, as bytes, and how each is opened so that tokens read from flash. */
import { type ByteSource, memorySource, type Predictor, type RecordDType } from "@flashwick/core";
import { memorySink, openModelFile, withChecksums, writeChecksumFile } from "@flashwick/flash-format";
import { type FlashReader, memoryReader } from "@flashwick/flash-io";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { Model, type ModelOptions } from "@flashwick/runtime";
import { ggufBytes, modelBytes } from "./fixture-files.js";
import { noisePredictor } from "./noise-predictor.js";

/** A model file, and what belongs to it. */
export interface TinyModel {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Beside a file of llama.cpp's; null: there are none, or the file has its own. */
  readonly checksums: Uint8Array | null;
  /** Whether a wrong bit is promised to be found. */
  readonly isChecked: boolean;
  readonly predictor: Predictor | null;
  readonly options: ModelOptions;
}

const CONTEXT = 32;
/** Of the way from the smallest budget to all of the model. */
const BUDGET_SHARE = 0.25;
const OPTIONS: ModelOptions = { contextTokens: CONTEXT, kvPrecision: "f32" };
/** What is prefilled, and what is decoded after it, one by one. */
const PROMPT = [5, 9, 17, 31, 8, 77];
const DECODED = [4, 60];

/** A model of our format. @param predicted Whether neurons are named by a predictor of noise, which leaves many out. */
export async function ownModel(
  name: string,
  dtype: RecordDType,
  predicted: boolean,
  layout: "bundled" | "split" | "columns" = "bundled",
): Promise<TinyModel> {
  const bytes = await modelBytes(name, dtype, layout);
  const { header } = await openModelFile(memorySource(bytes, name));
  const predictor = predicted ? noisePredictor(header) : null;
  const mode = predicted ? "predicted" : "dense";
  return await small({
    name: `${name}.${dtype}${layout === "bundled" ? "" : `.${layout}`}`,
    bytes,
    checksums: null,
    isChecked: true,
    predictor,
    options: { ...OPTIONS, mode },
  });
}

/** A file of llama.cpp's. @param isChecked Whether there are checksums beside it. */
export async function foreignModel(name: string, isChecked: boolean): Promise<TinyModel> {
  const bytes = ggufBytes(name);
  const sink = memorySink();
  await writeChecksumFile(sink, await openModelFile(memorySource(bytes, name)));
  const checksums = isChecked ? sink.committed! : null;
  const title = isChecked ? `${name}.gguf with checksums` : `${name}.gguf without`;
  return await small({ name: title, bytes, checksums, isChecked, predictor: null, options: OPTIONS });
}

/** The models of the long run, by name. */
export const TINY_MODELS: ReadonlyMap<string, () => Promise<TinyModel>> = new Map([
  ["opt", () => ownModel("opt-tiny-sharded", "int8", true)],
  ["gated", () => ownModel("llama-tiny-relu", "f16", true)],
  ["columns", () => ownModel("llama-tiny", "f16", false, "columns")],
  ["mixture", () => ownModel("mixtral-tiny", "f16", false)],
  ["gguf with checksums", () => foreignModel("qwen3", true)],
  ["gguf mixture with checksums", () => foreignModel("mixtral", true)],
  ["gguf without checksums", () => foreignModel("qwen3", false)],
]);

/** With a part of the memory that it needs to have everything there, so that tokens read, but not each neuron for itself. */
async function small(model: TinyModel): Promise<TinyModel> {
  const opened = await openTiny(model, memorySource(model.bytes), memoryReader(model.bytes));
  const { smallestBudgetBytes, dram } = opened.plan(CONTEXT);
  await opened.close();
  const dramBudgetBytes = Math.ceil(smallestBudgetBytes + BUDGET_SHARE * (dram.total - smallestBudgetBytes));
  return { ...model, options: { ...model.options, dramBudgetBytes } };
}

/** Opens a model of these parts, which it then owns. Whatever is thrown, both are closed. */
export async function openTiny(model: TinyModel, source: ByteSource, reader: FlashReader): Promise<Model> {
  try {
    const plain = await openModelFile(source);
    const file = model.checksums ? await withChecksums(plain, memorySource(model.checksums)) : plain;
    const { predictor, options } = model;
    const parts = { kernels: createWasmKernels, backend: "wasm", clock: () => performance.now() };
    return new Model({ file, reader, predictor, ...parts }, options);
  } catch (error) {
    await reader.close();
    await source.close();
    throw error;
  }
}

/** All logits after a prompt, and after each token that follows. */
export async function logitsOf(model: Model): Promise<Float32Array> {
  return await model.withSequence(CONTEXT, async (sequence) => {
    const all = [...(await sequence.prefill(PROMPT)).logits];
    const { chooser } = sequence.engine;
    const onLogits = (_: number, logits: Float32Array) => void all.push(...logits);
    for (const token of DECODED) await sequence.extend([token], { chooser, logits: "all", onLogits });
    return Float32Array.from(all);
  });
}

/** Whether two lists of numbers have the same bits. */
export function sameBits(a: Float32Array, b: Float32Array): boolean {
  const words = (floats: Float32Array) => new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  const [left, right] = [words(a), words(b)];
  return left.length === right.length && left.every((word, i) => word === right[i]);
}
