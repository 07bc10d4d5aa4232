/**
 * Which tensors a model of a given geometry keeps in DRAM, by name and shape: the one list that writer and reader share.
 * A family is a function here; names are those of GGUF files for llama.cpp where it has them.
 */
import type { ModelGeometry, RecordDType } from "@flashwick/core";
import type { GgmlType } from "./gguf.js";
import type { TensorRole } from "./model-file.js";
import type { TensorShape } from "./model-writer.js";

/** The GGUF tensor type of each element type; int8 has its f32 scales in a tensor of its own, `<name>.scale`. */
export const GGML_TYPE_OF_DTYPE: Readonly<Record<RecordDType, GgmlType>> = {
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
  int8: "I8",
};

/** Name of the tensor that holds the f32 row scales of the int8 tensor `name`. */
export function scaleName(name: string): string {
  return `${name}.scale`;
}

/** Norms and biases: always f32, one row. */
export function isVectorName(name: string): boolean {
  return name.endsWith(".bias") || name.endsWith("_norm.weight");
}

/**
 * The resident tensors of a geometry, in file order. Families differ in what they lack: Falcon has no table of positions, and its 7B no norm
 * of the FFN's own; only OPT-350M has projections around a narrower embedding.
 */
export function residentTensorsOf(g: ModelGeometry): TensorShape[] {
  const { dModel, embeddingDim } = g;
  const projected = embeddingDim !== dModel;
  const tensors: TensorShape[] = [matrix("token_embd.weight", g.vocabSize, embeddingDim)];
  if (g.positions === "learned")
    tensors.push(matrix("position_embd.weight", g.contextLength + g.positionOffset, dModel));
  if (projected) tensors.push(matrix("project_in.weight", dModel, embeddingDim));
  for (let layer = 0; layer < g.nLayers; layer++) tensors.push(...layerTensors(g, layer));
  if (g.finalNorm) tensors.push(...norm(g, "output_norm.weight", "output_norm.bias", ""));
  if (projected) tensors.push(matrix("project_out.weight", embeddingDim, dModel));
  if (!g.tiedHead) tensors.push(matrix("output.weight", g.vocabSize, embeddingDim));
  return tensors;
}

function layerTensors(g: ModelGeometry, layer: number): TensorShape[] {
  const { dModel } = g;
  const prefix = `blk.${layer}.`;
  const dKv = g.nKvHeads * g.headDim;
  return [
    ...norm(g, "attn_norm.weight", "attn_norm.bias", prefix),
    ...linear(g, "attn_q.weight", "attn_q.bias", prefix, dModel),
    ...linear(g, "attn_k.weight", "attn_k.bias", prefix, dKv),
    ...linear(g, "attn_v.weight", "attn_v.bias", prefix, dKv),
    ...linear(g, "attn_output.weight", "attn_output.bias", prefix, dModel),
    ...(g.ffnNorm ? norm(g, "ffn_norm.weight", "ffn_norm.bias", prefix) : []),
    ...(g.biases ? [vector("ffn_up.bias", g.dFf, prefix), vector("ffn_down.bias", dModel, prefix)] : []),
  ];
}

function matrix(role: TensorRole, rows: number, cols: number, prefix = ""): TensorShape {
  return { name: prefix + role, rows, cols };
}

function vector(role: TensorRole, cols: number, prefix: string): TensorShape {
  return { name: prefix + role, rows: 1, cols };
}

function norm(g: ModelGeometry, weight: TensorRole, bias: TensorRole, prefix: string): TensorShape[] {
  return g.normAffine ? [vector(weight, g.dModel, prefix), vector(bias, g.dModel, prefix)] : [];
}

function linear(g: ModelGeometry, weight: TensorRole, bias: TensorRole, prefix: string, rows: number): TensorShape[] {
  const w = matrix(weight, rows, g.dModel, prefix);
  return g.biases ? [w, vector(bias, rows, prefix)] : [w];
}
