/**
 * What conversion must know of a checkpoint family: how its config.json becomes a geometry, and which checkpoint tensor holds each
 * tensor of the model file. A family is a table of names, not code that touches weights.
 */
import { assert, type BlockDType, type ModelGeometry, type RecordRole } from "@flashwick/core";
import { expertMatrices } from "../../expert-record.js";
import type { TensorShape } from "../../model-writer.js";
import { isVectorName } from "../../resident-tensors.js";

/** Rows `first … first + count` of a checkpoint tensor. */
export interface RowRange {
  readonly first: number;
  readonly count: number;
}

/** Where a tensor of the model file comes from. */
export interface WeightSource {
  /** Names under which checkpoints hold it, the usual one first. */
  readonly names: readonly string[];
  /** The shape that the checkpoint's tensor must have. */
  readonly shape: readonly number[];
  /** The rows that are wanted, in this order; all of them if absent. For tensors that hold several (fused query, key, value). */
  readonly rows?: readonly RowRange[];
  /** Of each row, which elements are wanted: every `step`-th from `first` on; all of them if absent. For biases of fused matrices. */
  readonly columns?: { readonly first: number; readonly step: number };
  /** Added to every element: the model file has weights as they are multiplied (Gemma's norms multiply by 1 + w). */
  readonly plus?: number;
}

/** The matrices of a layer's neurons: gate and up `[dFf, dModel]`, down `[dModel, dFf]`. */
export interface FfnSource {
  readonly gate: WeightSource | null;
  readonly up: WeightSource;
  readonly down: WeightSource;
}

/** What a stored tensor holds of one expert: a matrix, or several. */
export interface ExpertSlice {
  /** The whole tensor. Its shape is `[rows, cols]`, or `[count, rows, cols]` where it holds all experts; with scales `[count, rows, cols / 32, 16]`. */
  readonly source: WeightSource;
  /** Which expert of a tensor that holds all; null: the tensor is one expert's own. */
  readonly expert: number | null;
  /** The matrices, in the order of a record. Of several, rows take turns: row i of matrix k of n is row i · n + k. */
  readonly roles: readonly RecordRole[];
  /** Stored the other way round: rows of the matrices are columns. */
  readonly transposed: boolean;
  /** Of MXFP4 in pairs (paired-mxfp4.ts), `[count, rows, cols / 32]`; null: elements. */
  readonly scales: WeightSource | null;
}

/** Where an expert's matrices come from, in the order of a record. */
export type ExpertForm = (expert: number) => readonly ExpertSlice[];

/** Names of a checkpoint's tensors by what they are in the model file. */
export interface TensorNames {
  /** Before every name but the head's; some checkpoints leave it out. */
  readonly prefix: string;
  /** Before a layer's number. */
  readonly layers: string;
  /** By name in the model file, after `prefix`. */
  readonly model: Readonly<Record<string, string>>;
  /** By name in the model file after `blk.<layer>.`, after `prefix`, `layers` and the number; `ffn_gate.weight`, `ffn_up.weight` and `ffn_down.weight` with the others. */
  readonly layer: Readonly<Record<string, string>>;
}

/** A family of checkpoints: from config.json and tensor names to a geometry and its weights. */
export interface CheckpointFamily {
  /** `model_type` of config.json, and what older files or other authors' code call it. */
  readonly modelTypes: readonly string[];
  /** Class names in `architectures` that hold a language model of this family. */
  readonly architectures: readonly string[];
  readonly names: TensorNames;
  /**
   * @param config Parsed config.json.
   * @param where  For messages: the file's name.
   * @throws {FormatError} `CHECKPOINT_CONFIG` naming the field. {UnsupportedError} `UNSUPPORTED_ACTIVATION`, `UNSUPPORTED_FEATURE`.
   */
  readGeometry(config: unknown, where: string): ModelGeometry;
  /** Where a resident tensor comes from that is not a tensor of the checkpoint by itself; null for one that is. */
  partSource?(tensor: TensorShape, geometry: ModelGeometry): WeightSource | null;
  /** Of a mixture: the forms in which checkpoints hold a layer's experts, the usual one first. */
  expertForms?(layer: number, geometry: ModelGeometry): readonly ExpertForm[];
  /** `quant_method` of quantised checkpoints that conversion reads, with the type that keeps their experts as they are. */
  readonly quantisedExperts?: Readonly<Record<string, BlockDType>>;
}

/** Where the tensors of a model file come from, in the names of the weights at hand. */
export interface WeightNames {
  resident(tensor: TensorShape): WeightSource;
  ffn(layer: number): FfnSource;
  /** Of a layer that is a mixture: the forms in which it may be stored, the usual one first. */
  expertForms(layer: number): readonly ExpertForm[];
}

/** Where the tensors of a model of this family come from. */
export function familyNames(family: CheckpointFamily, geometry: ModelGeometry): WeightNames {
  return {
    resident: (tensor) => residentSource(family, tensor, geometry),
    ffn: (layer) => ffnSource(family, layer, geometry),
    expertForms: (layer) => family.expertForms?.(layer, geometry) ?? [],
  };
}

/** Where a resident tensor comes from. `tensor.name` is one that the geometry asks for. */
export function residentSource(family: CheckpointFamily, tensor: TensorShape, geometry: ModelGeometry): WeightSource {
  const part = family.partSource?.(tensor, geometry);
  if (part) return part;
  const { name, rows, cols } = tensor;
  return { names: checkpointNames(family.names, name), shape: isVectorName(name) ? [cols] : [rows, cols] };
}

/** Where a layer's neurons come from. */
export function ffnSource({ names }: CheckpointFamily, layer: number, geometry: ModelGeometry): FfnSource {
  const { dModel } = geometry;
  const { dFf, gated } = geometry.layers[layer]!.ffn;
  const matrix = (role: string, ...shape: number[]): WeightSource => {
    return { names: checkpointNames(names, `blk.${layer}.${role}.weight`), shape };
  };
  return {
    gate: gated ? matrix("ffn_gate", dFf, dModel) : null,
    up: matrix("ffn_up", dFf, dModel),
    down: matrix("ffn_down", dModel, dFf),
  };
}

/** Names in the checkpoint of a tensor of the model file, with the prefix and without. */
export function checkpointNames({ prefix, layers, model, layer }: TensorNames, name: string): string[] {
  const head = /^output\.(weight|bias)$/.exec(name);
  if (head) return [`lm_head.${head[1]}`];
  const inLayer = /^blk\.(\d+)\.(.+)$/.exec(name);
  const rest = inLayer ? layer[inLayer[2]!] : model[name];
  assert(rest !== undefined, `the family has no tensor ${name}`);
  const whole = inLayer ? `${layers}${inLayer[1]}.${rest}` : rest;
  return [prefix + whole, whole];
}

/** Names in the checkpoint of something in a layer. */
export function namesInLayer({ prefix, layers }: TensorNames, layer: number, rest: string): string[] {
  const whole = `${layers}${layer}.${rest}`;
  return [prefix + whole, whole];
}

/** Experts whose matrices are tensors of their own. @param nameOf After the layer's number. */
export function ownMatrices(
  names: TensorNames,
  layer: number,
  { layers, dModel }: ModelGeometry,
  nameOf: (expert: number, role: RecordRole) => string,
): ExpertForm {
  return (expert) =>
    expertMatrices(layers[layer]!, dModel).map(({ role, rows, cols }) => ({
      source: { names: namesInLayer(names, layer, nameOf(expert, role)), shape: [rows, cols] },
      ...{ expert: null, roles: [role], transposed: false, scales: null },
    }));
}

/** The names of a module's weight and bias. */
export function weightAndBias(role: string, module: string): Record<string, string> {
  return { [`${role}.weight`]: `${module}.weight`, [`${role}.bias`]: `${module}.bias` };
}

/**
 * Rows of query, key or value in a matrix that holds all three by key/value head: the head's queries, its key, its value.
 *
 * @param names Of the fused tensor.
 * @returns Null for a tensor that is none of them.
 */
export function fusedSource(
  { name }: TensorShape,
  geometry: ModelGeometry,
  names: (layer: string, part: string) => string[],
): WeightSource | null {
  const match = /^blk\.(\d+)\.attn_([qkv])\.(weight|bias)$/.exec(name);
  if (!match) return null;
  const [, layer, which, part] = match;
  const { nHeads, nKvHeads, headDim } = geometry.layers[Number(layer)]!.attention;
  const queries = nHeads / nKvHeads;
  const rows = Array.from({ length: nKvHeads }, (_, group): RowRange => {
    const first = group * (queries + 2) * headDim;
    if (which === "q") return { first, count: queries * headDim };
    return { first: first + (queries + (which === "k" ? 0 : 1)) * headDim, count: headDim };
  });
  const total = (nHeads + 2 * nKvHeads) * headDim;
  return { names: names(layer!, part!), shape: part === "bias" ? [total] : [total, geometry.dModel], rows };
}
