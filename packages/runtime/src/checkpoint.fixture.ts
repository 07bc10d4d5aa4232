/** Test support: checkpoints of this repository, converted in memory and opened. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  eventLoopTurn,
  memorySource,
  type Predictor,
  type PredictorSource,
  type RecordDType,
  type ResidentDType,
} from "@flashwick/core";
import { createModelWriter, memorySink, openModelFile } from "@flashwick/flash-format";
import { type ConvertOptions, convertCheckpoint, convertGguf } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { type FlashReader, memoryReader } from "@flashwick/flash-io";
import { Model } from "./model.js";
import type { ModelOptions } from "./model-options.js";
import { type BackendName, kernelsOf } from "./node/open-model.js";

const fixtures = fileURLToPath(new URL("../fixtures/", import.meta.url));
const demoModels = fileURLToPath(new URL("../../demo-models/models/", import.meta.url));

/** Logits and continuations of one checkpoint from an independent implementation. */
export interface Golden {
  readonly cases: readonly {
    readonly tokens: readonly number[];
    readonly text?: string;
    readonly positions: readonly {
      readonly logSumExp: number;
      readonly top: readonly (readonly [number, number])[];
      readonly probe: readonly (readonly [number, number])[];
    }[];
    /** By layer and position, of families that leave zeros: how many neurons add to the FFN's output. */
    readonly activePerLayer: readonly (readonly number[])[];
    /** By layer: which, at the last position. */
    readonly activeLastPosition: readonly (readonly number[])[];
    /** Of a checkpoint with predictors in it, by layer: what they name of the residual stream before the norm, at the last position. */
    readonly mergedNamedLastPosition?: readonly (readonly number[])[];
    readonly greedy: readonly number[];
    readonly greedyMargins: readonly number[];
    readonly greedyText?: string;
  }[];
  readonly perplexity?: { readonly perplexity: number; readonly windows: number; readonly tokens: number };
}

/** References whose FFNs leave zeros by another rule than a ReLU of the up projection: gates, a threshold, two ReLUs, a square, a block of its own. */
export const SPARSE_REFERENCES = [
  "llama-tiny-relu",
  "prosparse-tiny",
  "bamboo-tiny",
  "phi-tiny-relu",
  "persimmon-tiny",
] as const;

export function readGolden(name: string): Golden {
  return JSON.parse(readFileSync(`${fixtures}goldens/${name}.json`, "utf8"));
}

export interface FixtureOptions extends ModelOptions {
  readonly dtype?: RecordDType;
  readonly layout?: "bundled" | "split" | "columns";
  /** Gates are resident, of this type. */
  readonly gateDtype?: ResidentDType;
  readonly backend?: BackendName;
  readonly predictor?: Predictor | PredictorSource | null;
  readonly maxArenaBytes?: number;
  /** Every read takes some turns of the event loop, so that much else happens in the middle of a step. */
  readonly slowReads?: boolean;
}

const converted = new Map<string, Promise<Uint8Array>>();

/** The folder of a checkpoint. */
export function checkpointFolder(name: string): string {
  return `${name.endsWith("-demo") ? demoModels : fixtures}${name}`;
}

/** The model file of a checkpoint as bytes; made once per test file. */
export function modelBytes(
  name: string,
  dtype: RecordDType,
  layout: "bundled" | "split" | "columns" = "bundled",
  gateDtype: ResidentDType | null = null,
): Promise<Uint8Array> {
  const key = `${name} ${dtype} ${layout} ${gateDtype}`;
  const made = converted.get(key) ?? convert(name, { dtype, layout, gateDtype });
  converted.set(key, made);
  return made;
}

async function convert(name: string, options: ConvertOptions): Promise<Uint8Array> {
  const folder = await openCheckpointFolder(checkpointFolder(name));
  const sink = memorySink(name);
  await convertCheckpoint(folder, (spec) => createModelWriter(sink, spec), options);
  return sink.committed!;
}

/** Opens a checkpoint of the fixtures as a model. */
export async function openFixture(name: string, options: FixtureOptions = {}): Promise<Model> {
  const bytes = await modelBytes(name, options.dtype ?? "f32", options.layout, options.gateDtype);
  return await openModelBytes(bytes, name, options);
}

/** A GGUF file of llama.cpp's, as it lies. */
export function ggufBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(`${fixtures}gguf/${name}.gguf`));
}

/** The same, converted into records. */
export async function convertedGguf(
  bytes: Uint8Array,
  name: string,
  dtype: RecordDType,
  gateDtype: ResidentDType | null = null,
): Promise<Uint8Array> {
  const sink = memorySink(name);
  await convertGguf(memorySource(bytes, name), name, (spec) => createModelWriter(sink, spec), { dtype, gateDtype });
  return sink.committed!;
}

/** Opens the bytes of a model file. */
export async function openModelBytes(bytes: Uint8Array, name: string, options: FixtureOptions = {}): Promise<Model> {
  const file = await openModelFile(memorySource(bytes, name));
  const { name: backend, kernels } = kernelsOf(options.backend ?? "wasm");
  const parts = {
    file,
    reader: options.slowReads ? slowReader(memoryReader(bytes, name)) : memoryReader(bytes, name),
    kernels,
    backend,
    predictor: options.predictor ?? null,
    clock: () => performance.now(),
    ...(options.maxArenaBytes === undefined ? {} : { maxArenaBytes: options.maxArenaBytes }),
  };
  return new Model(parts, options);
}

function slowReader(plain: FlashReader): FlashReader {
  const wait = async () => {
    for (let turns = 0; turns < 3; turns++) await eventLoopTurn();
    await plain.wait();
  };
  return { ...plain, wait };
}
