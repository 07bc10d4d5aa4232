/**
 * A mixture's logits in float64 and as plainly as can be, over f32 tensors under llama.cpp's names: what made files are held against.
 * Formulas: transformers' modeling_olmoe.py, modeling_qwen3_moe.py and modeling_gpt_oss.py.
 */
import { memorySource } from "@flashwick/core";
import { readGgufHeader } from "@flashwick/flash-format";
import type { MixtureSizes } from "./mixture-size.js";
import type { MixtureSource } from "./mixture-source.js";

export interface PlainForm {
  /** Over which channels queries and keys are normed; "weights": they are multiplied by the norm's weights and by nothing else. */
  readonly headNorm: "all heads" | "each head" | "weights" | "none";
  /** Whether the chosen probabilities are divided by their sum. */
  readonly renormalised: boolean;
  /** gpt-oss's gate, biases and clamps. */
  readonly gptOss: boolean;
}

export interface PlainMixture {
  readonly sizes: MixtureSizes;
  readonly form: PlainForm;
  readonly epsilon: number;
  readonly theta: number;
  /** f32, innermost dimension first as in the file. */
  tensor(name: string): Float32Array;
}

export const OLMOE: PlainForm = { headNorm: "all heads", renormalised: false, gptOss: false };
export const QWEN3: PlainForm = { headNorm: "each head", renormalised: true, gptOss: false };
export const GPT_OSS: PlainForm = { headNorm: "none", renormalised: true, gptOss: true };

/** @param bytes Of a GGUF file of f32 tensors. */
export async function plainFile(bytes: Uint8Array, sizes: MixtureSizes, form: PlainForm): Promise<PlainMixture> {
  const { tensors, metadata } = await readGgufHeader(memorySource(bytes));
  const last = tensors.at(-1)!;
  const count = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);
  const dataOffset = bytes.length - last.offset - Math.ceil((4 * count(last.shape)) / 32) * 32;
  const found = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const number = (key: string) => [...metadata].find(([name]) => name.endsWith(key))![1].value as number;
  const tensor = (name: string) => {
    const { offset, shape } = found.get(name)!;
    return new Float32Array(bytes.buffer, bytes.byteOffset + dataOffset + offset, count(shape));
  };
  return { sizes, form, epsilon: number("layer_norm_rms_epsilon"), theta: number("rope.freq_base"), tensor };
}

const NAMES: Readonly<Record<string, string>> = {
  ...{ attn_norm: "input_layernorm", ffn_norm: "post_attention_layernorm", ffn_gate_inp: "mlp.gate" },
  ...{ attn_q: "self_attn.q_proj", attn_k: "self_attn.k_proj", attn_v: "self_attn.v_proj" },
  ...{ attn_output: "self_attn.o_proj", attn_q_norm: "self_attn.q_norm", attn_k_norm: "self_attn.k_norm" },
};

/** The checkpoint under llama.cpp's names. */
export async function plainSource(source: MixtureSource, form = OLMOE): Promise<PlainMixture> {
  const tensors = new Map<string, Float32Array>();
  const embedding = await source.read("model.embed_tokens.weight");
  tensors.set("token_embd.weight", embedding).set("output.weight", embedding);
  tensors.set("output_norm.weight", await source.read("model.norm.weight"));
  for (let layer = 0; layer < source.sizes.nLayers; layer++) {
    const read = (name: string) => source.read(`model.layers.${layer}.${name}.weight`);
    for (const [name, from] of Object.entries(NAMES)) tensors.set(`blk.${layer}.${name}.weight`, await read(from));
    for (const part of ["gate", "up", "down"]) {
      const experts = Array.from({ length: source.sizes.nExperts }, (_, e) => read(`mlp.experts.${e}.${part}_proj`));
      tensors.set(`blk.${layer}.ffn_${part}_exps.weight`, joined(await Promise.all(experts)));
    }
  }
  const { sizes, normEpsilon: epsilon, ropeTheta: theta } = source;
  return { sizes, form, epsilon, theta, tensor: (name) => tensors.get(name)! };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export interface PlainRun {
  /** `[tokens]` of f64 `[vocabSize]`. */
  readonly logits: readonly Float64Array[];
  /** Chosen ids, best first, `[nLayers][tokens]`. */
  readonly chosen: readonly (readonly number[])[][];
}

export function plainRun(model: PlainMixture, tokens: readonly number[]): PlainRun {
  const { dModel, nLayers, vocabSize } = model.sizes;
  const embedding = model.tensor("token_embd.weight");
  const stream = tokens.map((token) => Float64Array.from(embedding.subarray(token * dModel, (token + 1) * dModel)));
  const chosen: number[][][] = [];
  for (let layer = 0; layer < nLayers; layer++) {
    attend(model, `blk.${layer}.`, stream);
    chosen.push(stream.map((h) => mix(model, `blk.${layer}.`, h)));
  }
  const norm = model.tensor("output_norm.weight");
  const logits = stream.map((h) => product(model.tensor("output.weight"), normed(h, norm, model.epsilon), vocabSize));
  return { logits, chosen };
}

/** Adds attention to each position of the stream. */
function attend(model: PlainMixture, at: string, stream: readonly Float64Array[]): void {
  const { nHeads, nKvHeads, headDim, dModel } = model.sizes;
  const inputs = stream.map((h) => normed(h, model.tensor(`${at}attn_norm.weight`), model.epsilon));
  const project = (name: string, heads: number) =>
    inputs.map((x) => product(model.tensor(`${at}${name}.weight`), x, heads * headDim));
  const turned = (name: string, heads: number) =>
    project(name, heads).map((x, position) =>
      rotated(headNormed(model, x, `${at}${name}_norm.weight`), model, position),
    );
  const [q, k, v] = [turned("attn_q", nHeads), turned("attn_k", nKvHeads), project("attn_v", nKvHeads)];
  for (const [position, h] of stream.entries()) {
    const mixed = new Float64Array(nHeads * headDim);
    for (let head = 0; head < nHeads; head++) {
      const from = Math.floor((head * nKvHeads) / nHeads) * headDim;
      const scores = k.slice(0, position + 1).map((key) => {
        let sum = 0;
        for (let i = 0; i < headDim; i++) sum += q[position]![head * headDim + i]! * key[from + i]!;
        return sum / Math.sqrt(headDim);
      });
      for (const [other, share] of softmax(scores).entries()) {
        for (let i = 0; i < headDim; i++) mixed[head * headDim + i]! += share * v[other]![from + i]!;
      }
    }
    add(h, product(model.tensor(`${at}attn_output.weight`), mixed, dModel), 1);
  }
}

function headNormed(model: PlainMixture, x: Float64Array, name: string): Float64Array {
  const { headDim } = model.sizes;
  if (model.form.headNorm === "none") return x;
  const weight = model.tensor(name);
  if (model.form.headNorm === "weights") return x.map((value, i) => value * weight[i]!);
  if (model.form.headNorm === "all heads") return normed(x, weight, model.epsilon);
  const out = new Float64Array(x.length);
  for (let i = 0; i < x.length; i += headDim) out.set(normed(x.subarray(i, i + headDim), weight, model.epsilon), i);
  return out;
}

function rotated(x: Float64Array, { sizes: { headDim }, theta }: PlainMixture, position: number): Float64Array {
  const half = headDim / 2;
  return x.map((value, i) => {
    const angle = position * theta ** (-(i % half) / half);
    const other = i % headDim < half ? -x[i + half]! : x[i - half]!;
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
}

/** Adds the chosen experts. @returns Their ids, best first. */
function mix(model: PlainMixture, at: string, h: Float64Array): number[] {
  const { nExperts, nUsed } = model.sizes;
  const x = normed(
    h,
    model.tensor(`${at}${model.form.gptOss ? "post_attention_norm" : "ffn_norm"}.weight`),
    model.epsilon,
  );
  const logits = Array.from(product(model.tensor(`${at}ffn_gate_inp.weight`), x, nExperts));
  const ids = logits
    .map((_, id) => id)
    .sort((a, b) => logits[b]! - logits[a]!)
    .slice(0, nUsed);
  const all = softmax(logits);
  const sum = model.form.renormalised ? ids.reduce((total, id) => total + all[id]!, 0) : 1;
  for (const id of ids) add(h, expertOutput(model, at, id, x), all[id]! / sum);
  return ids;
}

function expertOutput(model: PlainMixture, at: string, id: number, x: Float64Array): Float64Array {
  const { dModel, dExpert } = model.sizes;
  const matrix = (part: string) => {
    const all = model.tensor(`${at}ffn_${part}_exps.weight`);
    return all.subarray(id * dModel * dExpert, (id + 1) * dModel * dExpert);
  };
  const [gate, up] = [product(matrix("gate"), x, dExpert), product(matrix("up"), x, dExpert)];
  const act = model.form.gptOss ? gptOssAct(gate, up, model.tensor(`${at}ffn_up_exps.bias`), id) : siluAct(gate, up);
  return product(matrix("down"), act, dModel);
}

function siluAct(gate: Float64Array, up: Float64Array): Float64Array {
  return gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);
}

function gptOssAct(gate: Float64Array, up: Float64Array, upBias: Float32Array, id: number): Float64Array {
  return gate.map((unclamped, i) => {
    const g = Math.min(unclamped, 7);
    const u = Math.max(-7, Math.min(7, up[i]! + upBias[id * gate.length + i]!));
    return (u + 1) * (g / (1 + Math.exp(-1.702 * g)));
  });
}

function normed(x: Float64Array, weight: Float32Array, epsilon: number): Float64Array {
  const square = x.reduce((sum, value) => sum + value * value, 0) / x.length;
  return x.map((value, i) => (value / Math.sqrt(square + epsilon)) * weight[i]!);
}

function product(matrix: Float32Array, x: Float64Array, rows: number): Float64Array {
  const out = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += matrix[r * x.length + i]! * x[i]!;
    out[r] = sum;
  }
  return out;
}

function softmax(logits: readonly number[]): number[] {
  const most = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

function add(h: Float64Array, x: Float64Array, factor: number): void {
  for (let i = 0; i < h.length; i++) h[i]! += factor * x[i]!;
}
