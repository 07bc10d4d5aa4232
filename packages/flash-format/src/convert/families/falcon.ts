/**
 * Falcon in Hugging Face's form (FalconForCausalLM), three builds of it:
 *
 *     7B    multi-query, rotary, attention and FFN in parallel behind one norm
 *     40B   `new_decoder_architecture`: grouped queries, rotary, in parallel behind a norm each (or one, as Falcon2 11B)
 *     RW    ALiBi, biases, multi-head, attention and FFN one after the other
 *
 * Source: transformers, models/falcon/{configuration_falcon,modeling_falcon}.py. Query, key and value are one matrix there; its rows stand
 * by key/value head: the head's queries, its key, its value.
 */
import {
  assert,
  attentionBiases,
  equalLayers,
  type LayerGeometry,
  type ModelGeometry,
  type NormGeometry,
  normsBefore,
  showValue,
  UnsupportedError,
} from "@flashwick/core";
import * as v from "valibot";
import { MAX_CONTEXT, MAX_LAYERS, MAX_VOCAB, MAX_WIDTH } from "../../geometry-limits.js";
import type { TensorShape } from "../../model-writer.js";
import { checkDocument } from "../checkpoint-document.js";
import { checkHeads, epsilonField, sizeField, tokenIdField } from "./config-fields.js";
import { type CheckpointFamily, fusedSource, type WeightSource, weightAndBias } from "./family.js";
import { positiveField } from "./rotary-fields.js";

const falconConfig = v.object({
  hidden_size: sizeField(MAX_WIDTH),
  // The first repositories wrote n_layer, n_head and n_head_kv.
  num_hidden_layers: v.optional(sizeField(MAX_LAYERS)),
  n_layer: v.optional(sizeField(MAX_LAYERS)),
  num_attention_heads: v.optional(sizeField(MAX_WIDTH)),
  n_head: v.optional(sizeField(MAX_WIDTH)),
  num_kv_heads: v.nullish(sizeField(MAX_WIDTH)),
  n_head_kv: v.nullish(sizeField(MAX_WIDTH)),
  vocab_size: sizeField(MAX_VOCAB),
  ffn_hidden_size: v.nullish(sizeField(MAX_WIDTH)),
  max_position_embeddings: v.optional(sizeField(MAX_CONTEXT), 2048),
  activation: v.optional(v.string(), "gelu"),
  layer_norm_epsilon: v.optional(epsilonField, 1e-5),
  alibi: v.optional(v.boolean(), false),
  bias: v.optional(v.boolean(), false),
  multi_query: v.optional(v.boolean(), true),
  parallel_attn: v.optional(v.boolean(), true),
  new_decoder_architecture: v.optional(v.boolean(), false),
  num_ln_in_parallel_attn: v.nullish(v.picklist([1, 2])),
  rope_theta: v.optional(positiveField, 10000),
  rope_scaling: v.optional(v.unknown()),
  tie_word_embeddings: v.optional(v.boolean(), true),
  bos_token_id: tokenIdField(11),
  eos_token_id: tokenIdField(11),
});
type FalconConfig = v.InferOutput<typeof falconConfig>;

/** The family of `model_type` "falcon". */
export const falconFamily: CheckpointFamily = {
  modelTypes: ["falcon"],
  architectures: ["FalconForCausalLM", "FalconModel", "RWForCausalLM"],
  names: {
    prefix: "transformer.",
    layers: "h.",
    model: { "token_embd.weight": "word_embeddings.weight", ...weightAndBias("output_norm", "ln_f") },
    layer: {
      // Behind one norm, or one after the other; `partSource` has the names of two in a parallel block.
      ...weightAndBias("attn_norm", "input_layernorm"),
      ...weightAndBias("ffn_norm", "post_attention_layernorm"),
      ...weightAndBias("attn_output", "self_attention.dense"),
      ...weightAndBias("ffn_up", "mlp.dense_h_to_4h"),
      ...weightAndBias("ffn_down", "mlp.dense_4h_to_h"),
    },
  },
  readGeometry,
  partSource: (tensor, geometry) =>
    normOfTwo(tensor, geometry) ??
    fusedSource(tensor, geometry, (layer, part) => names(`h.${layer}.self_attention.query_key_value.${part}`)),
};

function readGeometry(document: unknown, where: string): ModelGeometry {
  const config = checkDocument(falconConfig, document, where, "CHECKPOINT_CONFIG");
  const nLayers = required(config.num_hidden_layers ?? config.n_layer, "num_hidden_layers", config, where);
  const nHeads = required(config.num_attention_heads ?? config.n_head, "num_attention_heads", config, where);
  const dModel = config.hidden_size;
  checkHeads({ nHeads, nKvHeads: nHeads, headDim: dModel / nHeads }, where);
  checkSupported(config, where);
  const norm: NormGeometry = { kind: "layer", epsilon: config.layer_norm_epsilon, weight: true, bias: true };
  return {
    architecture: "falcon",
    dModel,
    vocabSize: config.vocab_size,
    contextLength: config.max_position_embeddings,
    embedding: { dim: dModel, scale: 1, positions: null },
    layers: equalLayers(nLayers, layerOf(config, nHeads, norm)),
    finalNorm: norm,
    head: { tied: config.tie_word_embeddings, bias: false },
    bosTokenId: config.bos_token_id,
    eosTokenId: config.eos_token_id,
  };
}

function layerOf(config: FalconConfig, nHeads: number, norm: NormGeometry): LayerGeometry {
  const headDim = config.hidden_size / nHeads;
  const { alibi, bias, new_decoder_architecture: isNew } = config;
  const parallel = isNew || config.parallel_attn;
  const ffnNorm = !parallel || (isNew && config.num_ln_in_parallel_attn !== 1);
  return {
    attention: {
      ...{ nHeads, nKvHeads: kvHeads(config, nHeads), headDim },
      scale: 1 / Math.sqrt(headDim),
      biases: attentionBiases(bias),
      queryKeyNorm: null,
      rotary: alibi ? null : { theta: config.rope_theta, dims: headDim, pairs: "halves", scaling: null },
      alibi,
      windowTokens: null,
    },
    ffn: {
      dFf: config.ffn_hidden_size ?? 4 * config.hidden_size,
      gated: false,
      activation: config.activation === "relu" ? "relu" : "gelu",
      threshold: 0,
      upActivation: "none",
      biases: { gate: false, up: bias, down: bias },
    },
    norms: normsBefore(norm, ffnNorm ? norm : null),
    parallel,
  };
}

/** In the old architecture `multi_query` means one head for all, whatever `num_kv_heads` says. */
function kvHeads(config: FalconConfig, nHeads: number): number {
  if (config.new_decoder_architecture) return config.num_kv_heads ?? config.n_head_kv ?? nHeads;
  return config.multi_query ? 1 : nHeads;
}

/** A field that stands under one of two names; a missing one is reported under today's. */
function required(value: number | undefined, field: string, config: FalconConfig, where: string): number {
  if (value === undefined)
    checkDocument(v.object({ [field]: sizeField(MAX_WIDTH) }), config, where, "CHECKPOINT_CONFIG");
  assert(value !== undefined, "a missing field was reported");
  return value;
}

function checkSupported(
  { activation, rope_scaling: scaling, new_decoder_architecture: isNew, alibi }: FalconConfig,
  where: string,
): void {
  if (activation !== "relu" && activation !== "gelu") {
    throw new UnsupportedError(
      "UNSUPPORTED_ACTIVATION",
      `${where}: field activation: expected "relu" or "gelu", found ${showValue(activation)}; convert another checkpoint`,
      { details: { file: where, field: "activation", activation } },
    );
  }
  if (scaling !== undefined && scaling !== null) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${where}: field rope_scaling: expected none, found ${showValue(scaling)}; stretched rotary positions are not implemented`,
      { details: { file: where, field: "rope_scaling" } },
    );
  }
  if (isNew && alibi) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${where}: field alibi: expected false with new_decoder_architecture, found true; no published Falcon has both`,
      { details: { file: where, field: "alibi" } },
    );
  }
}

/** In a parallel block with two norms these have names of their own. */
function normOfTwo({ name, cols }: TensorShape, { layers }: ModelGeometry): WeightSource | null {
  const match = /^blk\.(\d+)\.(attn|ffn)_norm\.(weight|bias)$/.exec(name);
  if (!match) return null;
  const [, layer, which, part] = match;
  const { parallel, norms } = layers[Number(layer)]!;
  if (!parallel || !norms.beforeFfn) return null;
  return { names: names(`h.${layer}.${which === "attn" ? "ln_attn" : "ln_mlp"}.${part}`), shape: [cols] };
}

function names(name: string): string[] {
  return [`transformer.${name}`, name];
}
