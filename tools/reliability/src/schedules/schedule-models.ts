/** The models of schedules: small ones of this repository, of every kind of weights that an engine tells apart. */
import type { Predictor, RecordDType } from "@flashwick/core";
import { memorySource } from "@flashwick/core";
import { type ModelFile, openModelFile } from "@flashwick/flash-format";
import { ggufBytes, modelBytes } from "../../../../packages/runtime/src/checkpoint.fixture.js";
import { madeLlama } from "../../../../packages/runtime/src/made-llama.fixture.js";
import { noisePredictor } from "../../../../packages/runtime/src/noise-predictor.fixture.js";

/** A model, and what it may be asked for. */
export interface ScheduledModel {
  readonly name: string;
  readonly bytes: () => Promise<Uint8Array>;
  /** Leaves zeros: it has a predictor, here one of noise that names half of its neurons, and an oracle. */
  readonly isSparse: boolean;
  readonly hasExperts: boolean;
}

const records = (name: string, dtype: RecordDType, isSparse: boolean, hasExperts = false): ScheduledModel => ({
  name: `${name} ${dtype}`,
  bytes: () => modelBytes(name, dtype),
  ...{ isSparse, hasExperts },
});
const gguf = (name: string, hasExperts = false): ScheduledModel => ({
  name: `${name}.gguf`,
  bytes: async () => ggufBytes(name),
  ...{ isSparse: false, hasExperts },
});

/** In an order that is part of what a seed means. */
export const MODELS: readonly ScheduledModel[] = [
  records("opt-tiny-sharded", "f16", true),
  records("opt-tiny-postnorm", "q4", true),
  records("falcon-tiny-mqa", "int8", true),
  records("falcon-tiny-gqa", "f16", false),
  records("llama-tiny-relu", "f16", true),
  records("prosparse-tiny", "int8", true),
  records("phi-tiny-relu", "f32", true),
  gguf("llama"),
  gguf("gemma3-linear"),
  { name: "llama of q4_k", bytes: async () => madeLlama("q4_k"), isSparse: false, hasExperts: false },
  records("mixtral-tiny", "f16", false, true),
  records("qwen2-moe-tiny", "q4", false, true),
  gguf("olmoe", true),
  gguf("gpt-oss", true),
];

/** A model file that was read once. */
export interface OpenedModel {
  readonly model: ScheduledModel;
  readonly bytes: Uint8Array;
  readonly file: ModelFile;
  readonly predictor: Predictor | null;
}

const opened = new Map<ScheduledModel, Promise<OpenedModel>>();

/** Its bytes, header and predictor; read once. */
export function openScheduledModel(model: ScheduledModel): Promise<OpenedModel> {
  const known = opened.get(model) ?? read(model);
  opened.set(model, known);
  return known;
}

async function read(model: ScheduledModel): Promise<OpenedModel> {
  const bytes = await model.bytes();
  const file = await openModelFile(memorySource(bytes, model.name));
  return { model, bytes, file, predictor: model.isSparse ? noisePredictor(file.header) : null };
}
