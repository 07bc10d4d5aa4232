/**
 * gpt-oss in Hugging Face's form: every FFN a mixture whose router chooses first and weighs then, biases everywhere, attention sinks, windows in every other
 * layer, YaRN. A layer's experts share two tensors, in which gate and up take turns:
 *
 *     bf16    gate_up_proj `[E, d, 2f]` and down_proj `[E, f, d]`, the other way round than every other matrix
 *     MXFP4   gate_up_proj_blocks `[E, 2f, d / 32, 16]` and down_proj_blocks `[E, d, f / 32, 16]`, with `_scales`; paired-mxfp4.ts
 *
 * Source: transformers 4.57, models/gpt_oss/{configuration,modeling}_gpt_oss.py, integrations/mxfp4.py.
 */
import {
  attentionBiases,
  type ExpertsGeometry,
  type LayerGeometry,
  type ModelGeometry,
  type NormGeometry,
  normsBefore,
  type RecordRole,
  showValue,
  UnsupportedError,
} from "@flashwick/core";
import * as v from "valibot";
import { MAX_CONTEXT, MAX_WIDTH } from "../../geometry-limits.js";
import type { TensorShape } from "../../model-writer.js";
import { checkDocument } from "../checkpoint-document.js";
import {
  checkChosen,
  checkHeads,
  decoderSizes,
  epsilonField,
  expertCountField,
  sizeField,
  tokenIdField,
} from "./config-fields.js";
import {
  type CheckpointFamily,
  type ExpertForm,
  type ExpertSlice,
  namesInLayer,
  type TensorNames,
  type WeightSource,
  weightAndBias,
} from "./family.js";
import { LLAMA_NAMES, oncePerLayer } from "./llama.js";
import { positiveField, readRotary } from "./rotary-fields.js";

/** What transformers' code has in place of a field; published configurations say the same. */
const SWIGLU_LIMIT = 7;
/** `rope_scaling` of a configuration without one. */
const DEFAULT_SCALING = { rope_type: "yarn", factor: 32, beta_fast: 32, beta_slow: 1, truncate: false };

const config = v.object({
  ...decoderSizes,
  num_key_value_heads: v.optional(sizeField(MAX_WIDTH), 8),
  head_dim: v.optional(sizeField(MAX_WIDTH), 64),
  num_local_experts: v.optional(expertCountField, 128),
  num_experts_per_tok: v.optional(expertCountField, 4),
  max_position_embeddings: v.optional(sizeField(MAX_CONTEXT), 131072),
  rms_norm_eps: v.optional(epsilonField, 1e-5),
  rope_theta: v.optional(positiveField, 150_000),
  rope_scaling: v.optional(v.unknown(), DEFAULT_SCALING),
  attention_bias: v.optional(v.boolean(), true),
  sliding_window: v.optional(sizeField(MAX_CONTEXT), 128),
  layer_types: v.nullish(v.array(v.picklist(["full_attention", "sliding_attention"]))),
  hidden_act: v.optional(v.string(), "silu"),
  swiglu_limit: v.optional(v.number(), SWIGLU_LIMIT),
  tie_word_embeddings: v.optional(v.boolean(), false),
  bos_token_id: tokenIdField(null),
  eos_token_id: tokenIdField(null),
});
type Config = v.InferOutput<typeof config>;

const NAMES: TensorNames = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    ...weightAndBias("ffn_gate_inp", "mlp.router"),
    "attn_sinks.weight": "self_attn.sinks",
    "ffn_down_exps.bias": "mlp.experts.down_proj_bias",
  },
};

/** The family of `model_type` "gpt_oss". */
export const gptOssFamily: CheckpointFamily = {
  modelTypes: ["gpt_oss"],
  architectures: ["GptOssForCausalLM", "GptOssModel"],
  names: NAMES,
  readGeometry,
  partSource: biasOfTwo,
  expertForms: (layer, geometry) => [elementsOf(layer, geometry), blocksOf(layer, geometry)],
  quantisedExperts: { mxfp4: "mxfp4" },
};

function readGeometry(document: unknown, where: string): ModelGeometry {
  const c = checkDocument(config, document, where, "CHECKPOINT_CONFIG");
  if (c.hidden_act !== "silu") throw unsupported("hidden_act", "silu", c.hidden_act, where);
  if (c.swiglu_limit !== SWIGLU_LIMIT) throw unsupported("swiglu_limit", SWIGLU_LIMIT, c.swiglu_limit, where);
  checkChosen(c.num_experts_per_tok, c.num_local_experts, "num_local_experts", where);
  const norm: NormGeometry = { kind: "rms", epsilon: c.rms_norm_eps, weight: true, bias: false };
  return {
    architecture: "gpt-oss",
    dModel: c.hidden_size,
    vocabSize: c.vocab_size,
    contextLength: c.max_position_embeddings,
    embedding: { dim: c.hidden_size, scale: 1, positions: null },
    layers: oncePerLayer(c.num_hidden_layers, (index) => layerOf(c, norm, index, where)),
    finalNorm: norm,
    head: { tied: c.tie_word_embeddings, bias: false },
    bosTokenId: c.bos_token_id,
    eosTokenId: c.eos_token_id,
  };
}

function layerOf(c: Config, norm: NormGeometry, index: number, where: string): LayerGeometry {
  const [nHeads, nKvHeads, headDim] = [c.num_attention_heads, c.num_key_value_heads, c.head_dim];
  checkHeads({ nHeads, nKvHeads, headDim }, where);
  const fields = { theta: c.rope_theta, headDim, scaling: c.rope_scaling, contextLength: c.max_position_embeddings };
  // Every other layer, the first among them, unless listed.
  const isSliding = c.layer_types ? c.layer_types[index] === "sliding_attention" : index % 2 === 0;
  const experts: ExpertsGeometry = {
    ...{ count: c.num_local_experts, chosen: c.num_experts_per_tok, shared: null },
    router: { softmax: "chosen", normalised: false, bias: true },
  };
  return {
    attention: {
      ...{ nHeads, nKvHeads, headDim, rotary: readRotary(fields, where), queryKeyNorm: null, alibi: false },
      scale: 1 / Math.sqrt(headDim),
      biases: attentionBiases(c.attention_bias),
      windowTokens: isSliding ? c.sliding_window : null,
      sinks: true,
    },
    ffn: {
      ...{ dFf: c.intermediate_size, gated: true, activation: "swiglu-clamped", threshold: 0, upActivation: "none" },
      biases: { gate: true, up: true, down: true },
    },
    experts,
    norms: normsBefore(norm, norm),
    parallel: false,
  };
}

/** Biases of gate and up take turns in one tensor, as their rows do. */
function biasOfTwo({ name, rows, cols }: TensorShape): WeightSource | null {
  const [, layer, which] = /^blk\.(\d+)\.ffn_(gate|up)_exps\.bias$/.exec(name) ?? [];
  if (layer === undefined) return null;
  return {
    names: namesInLayer(NAMES, Number(layer), "mlp.experts.gate_up_proj_bias"),
    shape: [rows, 2 * cols],
    columns: { first: which === "gate" ? 0 : 1, step: 2 },
  };
}

/** The two tensors of a layer: which matrices each holds, with their rows and columns. */
function tensorsOf(layer: number, { layers, dModel }: ModelGeometry) {
  const { ffn, experts } = layers[layer]!;
  const gateAndUp: readonly RecordRole[] = ["gate", "up"];
  const down: readonly RecordRole[] = ["down"];
  return {
    count: experts!.count,
    tensors: [
      { module: "mlp.experts.gate_up_proj", roles: gateAndUp, rows: 2 * ffn.dFf, cols: dModel },
      { module: "mlp.experts.down_proj", roles: down, rows: dModel, cols: ffn.dFf },
    ],
  };
}

function elementsOf(layer: number, geometry: ModelGeometry): ExpertForm {
  const { count, tensors } = tensorsOf(layer, geometry);
  return (expert) =>
    tensors.map(({ module, roles, rows, cols }): ExpertSlice => {
      const source = { names: namesInLayer(NAMES, layer, module), shape: [count, cols, rows] };
      return { source, expert, roles, transposed: true, scales: null };
    });
}

function blocksOf(layer: number, geometry: ModelGeometry): ExpertForm {
  const { count, tensors } = tensorsOf(layer, geometry);
  return (expert) =>
    tensors.map(({ module, roles, rows, cols }): ExpertSlice => {
      const names = (what: string) => namesInLayer(NAMES, layer, `${module}_${what}`);
      const shape = [count, rows, cols / 32];
      const source = { names: names("blocks"), shape: [...shape, 16] };
      return { source, expert, roles, transposed: false, scales: { names: names("scales"), shape } };
    });
}

function unsupported(field: string, expected: unknown, found: unknown, where: string): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${where}: field ${field}: expected ${String(expected)}, found ${showValue(found)}; convert another checkpoint`,
    { details: { file: where, field } },
  );
}
