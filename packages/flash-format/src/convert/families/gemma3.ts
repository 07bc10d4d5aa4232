/**
 * Gemma 3's text models in Hugging Face's form: RMS norms before and after attention and FFN, whose weights are stored less one; heads normed;
 * layers that see a window and rotate with a base of their own between layers that see everything.
 *
 * Source: transformers 4.57, models/gemma3/{configuration,modeling}_gemma3.py.
 */
import {
  attentionBiases,
  type LayerGeometry,
  type ModelGeometry,
  type NormGeometry,
  normsAround,
  type RotaryGeometry,
  showValue,
  UnsupportedError,
} from "@flashwick/core";
import * as v from "valibot";
import { MAX_CONTEXT, MAX_LAYERS, MAX_WIDTH } from "../../geometry-limits.js";
import { checkDocument } from "../checkpoint-document.js";
import { readActivation } from "./activation-field.js";
import { checkHeads, decoderSizes, epsilonField, sizeField, tokenIdField } from "./config-fields.js";
import { type CheckpointFamily, checkpointNames, type TensorNames } from "./family.js";
import { LLAMA_NAMES } from "./llama.js";
import { positiveField, readRotary } from "./rotary-fields.js";

const config = v.object({
  ...decoderSizes,
  num_key_value_heads: v.nullish(sizeField(MAX_WIDTH)),
  head_dim: v.optional(sizeField(MAX_WIDTH), 256),
  max_position_embeddings: v.optional(sizeField(MAX_CONTEXT), 131072),
  hidden_activation: v.optional(v.string(), "gelu_pytorch_tanh"),
  rms_norm_eps: v.optional(epsilonField, 1e-6),
  query_pre_attn_scalar: v.optional(positiveField, 256),
  rope_theta: v.optional(positiveField, 1_000_000),
  rope_local_base_freq: v.optional(positiveField, 10_000),
  rope_scaling: v.optional(v.unknown()),
  attention_bias: v.optional(v.boolean(), false),
  sliding_window: v.optional(sizeField(MAX_CONTEXT), 4096),
  layer_types: v.nullish(v.array(v.picklist(["full_attention", "sliding_attention"]))),
  sliding_window_pattern: v.nullish(sizeField(MAX_LAYERS)),
  _sliding_window_pattern: v.nullish(sizeField(MAX_LAYERS)),
  attn_logit_softcapping: v.nullish(v.number()),
  final_logit_softcapping: v.nullish(v.number()),
  use_bidirectional_attention: v.nullish(v.boolean()),
  tie_word_embeddings: v.optional(v.boolean(), true),
  bos_token_id: tokenIdField(2),
  eos_token_id: tokenIdField(1),
});
type Config = v.InferOutput<typeof config>;

const NAMES: TensorNames = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
  },
};

/** The family of `model_type` "gemma3_text". */
export const gemma3Family: CheckpointFamily = {
  modelTypes: ["gemma3_text"],
  architectures: ["Gemma3ForCausalLM", "Gemma3TextModel"],
  names: NAMES,
  readGeometry,
  // Every norm multiplies by 1 + w.
  partSource: ({ name, cols }) =>
    name.endsWith("_norm.weight") ? { names: checkpointNames(NAMES, name), shape: [cols], plus: 1 } : null,
};

function readGeometry(document: unknown, where: string): ModelGeometry {
  const c = checkDocument(config, document, where, "CHECKPOINT_CONFIG");
  for (const field of ["attn_logit_softcapping", "final_logit_softcapping", "use_bidirectional_attention"] as const) {
    if (c[field]) throw unsupported(field, c[field], where);
  }
  const norm: NormGeometry = { kind: "rms", epsilon: c.rms_norm_eps, weight: true, bias: false };
  const contextLength = c.max_position_embeddings;
  const headDim = c.head_dim;
  const full = readRotary({ theta: c.rope_theta, headDim, scaling: c.rope_scaling, contextLength }, where);
  const local = readRotary({ theta: c.rope_local_base_freq, headDim, scaling: null, contextLength }, where);
  const fullLayer = layerOf(c, norm, full, null, where);
  const slidingLayer = layerOf(c, norm, local, c.sliding_window, where);
  return {
    architecture: "gemma3",
    dModel: c.hidden_size,
    vocabSize: c.vocab_size,
    contextLength,
    // A buffer of float32, whatever the weights are.
    embedding: { dim: c.hidden_size, scale: Math.fround(Math.sqrt(c.hidden_size)), positions: null },
    layers: Array.from({ length: c.num_hidden_layers }, (_, i) => (isSliding(c, i) ? slidingLayer : fullLayer)),
    finalNorm: norm,
    head: { tied: c.tie_word_embeddings, bias: false },
    bosTokenId: c.bos_token_id,
    eosTokenId: c.eos_token_id,
  };
}

/** As listed, or in older files all but every sixth. */
function isSliding(c: Config, layer: number): boolean {
  if (c.layer_types) return c.layer_types[layer] === "sliding_attention";
  const pattern = c.sliding_window_pattern ?? c._sliding_window_pattern ?? 6;
  return (layer + 1) % pattern !== 0;
}

function layerOf(
  c: Config,
  norm: NormGeometry,
  rotary: RotaryGeometry,
  windowTokens: number | null,
  where: string,
): LayerGeometry {
  const nHeads = c.num_attention_heads;
  const nKvHeads = c.num_key_value_heads ?? nHeads;
  checkHeads({ nHeads, nKvHeads, headDim: c.head_dim }, where);
  const { activation, threshold } = readActivation(c.hidden_activation, "hidden_activation", null, where);
  return {
    attention: {
      ...{ nHeads, nKvHeads, headDim: c.head_dim, rotary, windowTokens, alibi: false },
      scale: c.query_pre_attn_scalar ** -0.5,
      biases: attentionBiases(c.attention_bias),
      queryKeyNorm: { norm, over: "head" },
    },
    ffn: {
      ...{ dFf: c.intermediate_size, gated: true, activation, threshold, upActivation: "none" },
      biases: { gate: false, up: false, down: false },
    },
    norms: normsAround(norm),
    parallel: false,
  };
}

function unsupported(field: string, found: unknown, where: string): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${where}: field ${field}: expected none, found ${showValue(found)}; convert another checkpoint`,
    { details: { file: where, field } },
  );
}
