/**
 * Which tensors a model of a given geometry keeps in DRAM, by name and shape: the one list that writer and reader share.
 * Names are those of GGUF files for llama.cpp where it has them.
 */
import {
  type AttentionGeometry,
  blockElements,
  type ExpertsGeometry,
  type FfnGeometry,
  hasExperts,
  kvWidth,
  type LayerGeometry,
  type LayerNorms,
  type ModelGeometry,
  type NormGeometry,
  queryWidth,
  type ResidentDType,
} from "@flashwick/core";
import type { GgmlType } from "./gguf.js";
import type { TensorRole } from "./model-file.js";
import type { TensorShape } from "./model-writer.js";

/** The GGUF tensor type of each type of resident tensors; int8 has its f32 scales in a tensor of its own, `<name>.scale`. */
export const GGML_TYPE_OF_DTYPE: Readonly<Record<ResidentDType, GgmlType>> = {
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
  int8: "I8",
  q8_0: "Q8_0",
  q4_0: "Q4_0",
};

/**
 * What a resident tensor is stored as: vectors, routers and the biases of experts in f32, matrices as chosen, but that a matrix whose rows are no whole
 * blocks is f16.
 */
export function storedDType({ name, cols }: TensorShape, chosen: ResidentDType): ResidentDType {
  if (isVectorName(name) || isExpertBias(name) || ROUTER.test(name)) return "f32";
  return cols % blockElements(chosen) === 0 ? chosen : "f16";
}

/** What resident tensors are stored as, but for those that are always f32. */
export interface ResidentDTypes {
  readonly matrices: ResidentDType;
  /** Of the gates of neurons whose records have none; null where there are none such. */
  readonly gate: ResidentDType | null;
}

/** The resident gate of a layer's neurons. */
export function gateName(layer: number): string {
  return `blk.${layer}.ffn_gate.weight`;
}

/** Whether a resident tensor is the gate of neurons: with its layer's records it is a part of what the source calls one FFN. */
export function isNeuronGate(name: string, { gate }: Pick<ResidentDTypes, "gate">): boolean {
  return gate !== null && NEURON_GATE.test(name);
}

const NEURON_GATE = /^blk\.\d+\.ffn_gate\.weight$/;

/** Name of the tensor that holds the f32 row scales of the int8 tensor `name`. */
export function scaleName(name: string): string {
  return `${name}.scale`;
}

const ROUTER = /\.ffn_gate_inp\.weight$/;
/** Biases of all experts of a layer: a matrix with a row for each. */
const EXPERT_BIAS = /_exps\.bias$/;
/** Norms, biases, attention sinks, and the gate of a shared expert. */
const VECTOR = /(_norm\.weight|\.attn_sinks\.weight|\.ffn_gate_inp_shexp\.weight|(?<!_exps)\.bias)$/;

/** Always f32, one row. */
export function isVectorName(name: string): boolean {
  return VECTOR.test(name);
}

/** Always f32, a row an expert. */
export function isExpertBias(name: string): boolean {
  return EXPERT_BIAS.test(name);
}

type NormName =
  | "attn_norm"
  | "post_attention_norm"
  | "attn_q_norm"
  | "attn_k_norm"
  | "ffn_norm"
  | "post_ffw_norm"
  | "output_norm";

/** Name of the norm at each place of a layer, without `.weight` or `.bias`. A layer norms before a block or the sum after it, not both. */
export const LAYER_NORM_NAMES: Readonly<Record<keyof LayerNorms, NormName>> = {
  beforeAttention: "attn_norm",
  afterAttention: "post_attention_norm",
  attentionSum: "attn_norm",
  beforeFfn: "ffn_norm",
  afterFfn: "post_ffw_norm",
  ffnSum: "ffn_norm",
};

/**
 * The resident tensors of a geometry, in file order. Compositions differ in what they lack: Falcon has no table of positions, and its 7B no
 * norm of the FFN's own; only OPT-350M has projections around a narrower embedding.
 *
 * @param residentGate The gates of neurons are among them: their records have none.
 */
export function residentTensorsOf(g: ModelGeometry, residentGate = false): TensorShape[] {
  const { dModel, embedding } = g;
  const projected = embedding.dim !== dModel;
  const tensors: TensorShape[] = [matrix("token_embd.weight", g.vocabSize, embedding.dim)];
  if (embedding.positions)
    tensors.push(matrix("position_embd.weight", g.contextLength + embedding.positions.offset, dModel));
  if (projected) tensors.push(matrix("project_in.weight", dModel, embedding.dim));
  const isMixture = hasExperts(g);
  for (const [index, layer] of g.layers.entries()) {
    tensors.push(...layerTensors(layer, dModel, { isMixture, residentGate }, `blk.${index}.`));
  }
  tensors.push(...norm(g.finalNorm, "output_norm", dModel, ""));
  if (projected) tensors.push(matrix("project_out.weight", embedding.dim, dModel));
  if (!g.head.tied) tensors.push(matrix("output.weight", g.vocabSize, embedding.dim));
  if (g.head.bias) tensors.push(vector("output.bias", g.vocabSize, ""));
  return tensors;
}

function layerTensors(
  { attention, ffn, experts, norms }: LayerGeometry,
  dModel: number,
  { isMixture, residentGate }: { readonly isMixture: boolean; readonly residentGate: boolean },
  prefix: string,
): TensorShape[] {
  const { biases, sinks, nHeads } = attention;
  const [dQuery, dKv] = [queryWidth(attention), kvWidth(attention)];
  return [
    ...placedNorms(norms, ["beforeAttention", "afterAttention", "attentionSum"], dModel, prefix),
    ...linear("attn_q", dQuery, dModel, biases.query, prefix),
    ...linear("attn_k", dKv, dModel, biases.key, prefix),
    ...linear("attn_v", dKv, dModel, biases.value, prefix),
    ...headNorms(attention, prefix),
    ...(sinks ? [vector("attn_sinks.weight", nHeads, prefix)] : []),
    ...linear("attn_output", dModel, dQuery, biases.output, prefix),
    ...placedNorms(norms, ["beforeFfn", "afterFfn", "ffnSum"], dModel, prefix),
    ...(experts ? mixtureTensors(experts, ffn, dModel, prefix) : []),
    ...(isMixture && !experts ? ffnMatrices("", ffn, ffn.dFf, dModel, prefix) : []),
    ...(residentGate ? [matrix("ffn_gate.weight", ffn.dFf, dModel, prefix)] : []),
    ...(ffn.biases.gate && !experts ? [vector("ffn_gate.bias", ffn.dFf, prefix)] : []),
    ...(ffn.biases.up && !experts ? [vector("ffn_up.bias", ffn.dFf, prefix)] : []),
    ...(ffn.biases.down && !experts ? [vector("ffn_down.bias", dModel, prefix)] : []),
  ];
}

/** What of a mixture every token uses: its router, its shared expert, and the biases of all experts. */
function mixtureTensors(
  { count, router, shared }: ExpertsGeometry,
  ffn: FfnGeometry,
  dModel: number,
  prefix: string,
): TensorShape[] {
  return [
    matrix("ffn_gate_inp.weight", count, dModel, prefix),
    ...(router.bias ? [vector("ffn_gate_inp.bias", count, prefix)] : []),
    ...(ffn.biases.gate ? [matrix("ffn_gate_exps.bias", count, ffn.dFf, prefix)] : []),
    ...(ffn.biases.up ? [matrix("ffn_up_exps.bias", count, ffn.dFf, prefix)] : []),
    ...(ffn.biases.down ? [matrix("ffn_down_exps.bias", count, dModel, prefix)] : []),
    ...(shared?.gated ? [vector("ffn_gate_inp_shexp.weight", dModel, prefix)] : []),
    ...(shared ? ffnMatrices("_shexp", ffn, shared.dFf, dModel, prefix) : []),
  ];
}

/** Of an FFN that is resident beside experts. */
function ffnMatrices(
  suffix: "" | "_shexp",
  { gated }: FfnGeometry,
  dFf: number,
  dModel: number,
  prefix: string,
): TensorShape[] {
  return [
    ...(gated ? [matrix(`ffn_gate${suffix}.weight`, dFf, dModel, prefix)] : []),
    matrix(`ffn_up${suffix}.weight`, dFf, dModel, prefix),
    matrix(`ffn_down${suffix}.weight`, dModel, dFf, prefix),
  ];
}

/** Norms of queries and keys: of a head, the same for all, or of the whole width. */
function headNorms(attention: AttentionGeometry, prefix: string): TensorShape[] {
  const { queryKeyNorm, headDim } = attention;
  if (!queryKeyNorm) return [];
  const { norm: of, over } = queryKeyNorm;
  const [dQuery, dKey] = over === "head" ? [headDim, headDim] : [queryWidth(attention), kvWidth(attention)];
  return [...norm(of, "attn_q_norm", dQuery, prefix), ...norm(of, "attn_k_norm", dKey, prefix)];
}

function placedNorms(
  norms: LayerNorms,
  places: readonly (keyof LayerNorms)[],
  cols: number,
  prefix: string,
): TensorShape[] {
  return places.flatMap((place) => norm(norms[place], LAYER_NORM_NAMES[place], cols, prefix));
}

function matrix(role: TensorRole, rows: number, cols: number, prefix = ""): TensorShape {
  return { name: prefix + role, rows, cols };
}

function vector(role: TensorRole, cols: number, prefix: string): TensorShape {
  return { name: prefix + role, rows: 1, cols };
}

function norm(of: NormGeometry | null, name: NormName, cols: number, prefix: string): TensorShape[] {
  const weight = of?.weight ? [vector(`${name}.weight`, cols, prefix)] : [];
  const bias = of?.bias ? [vector(`${name}.bias`, cols, prefix)] : [];
  return [...weight, ...bias];
}

function linear(
  name: "attn_q" | "attn_k" | "attn_v" | "attn_output",
  rows: number,
  cols: number,
  bias: boolean,
  prefix: string,
): TensorShape[] {
  const weight = matrix(`${name}.weight`, rows, cols, prefix);
  return bias ? [weight, vector(`${name}.bias`, rows, prefix)] : [weight];
}
