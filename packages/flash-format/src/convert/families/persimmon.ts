/**
 * Persimmon in Hugging Face's form: layer norms before attention and an FFN of squared ReLU, one matrix for query, key and value, layer norms of
 * each head of queries and keys, half of each head rotated.
 *
 * Source: transformers 4.57, models/persimmon/{configuration,modeling}_persimmon.py.
 */
import { attentionBiases, equalLayers, type ModelGeometry, type NormGeometry, normsBefore } from "@flashwick/core";
import * as v from "valibot";
import { MAX_CONTEXT, MAX_LAYERS, MAX_VOCAB, MAX_WIDTH } from "../../geometry-limits.js";
import { checkDocument } from "../checkpoint-document.js";
import { readActivation } from "./activation-field.js";
import { sizeField, tokenIdField } from "./config-fields.js";
import { type CheckpointFamily, fusedSource, weightAndBias } from "./family.js";
import { checkHeads } from "./llama.js";
import { positiveField, readRotary } from "./rotary-fields.js";

const config = v.object({
  hidden_size: sizeField(MAX_WIDTH),
  intermediate_size: sizeField(MAX_WIDTH),
  num_hidden_layers: sizeField(MAX_LAYERS),
  num_attention_heads: sizeField(MAX_WIDTH),
  vocab_size: sizeField(MAX_VOCAB),
  max_position_embeddings: v.optional(sizeField(MAX_CONTEXT), 16384),
  hidden_act: v.optional(v.string(), "relu2"),
  layer_norm_eps: v.optional(v.pipe(v.number(), v.gtValue(0), v.ltValue(1)), 1e-5),
  partial_rotary_factor: v.optional(v.pipe(positiveField, v.maxValue(1)), 0.5),
  rope_theta: v.optional(positiveField, 25000),
  rope_scaling: v.optional(v.unknown()),
  qk_layernorm: v.optional(v.boolean(), true),
  tie_word_embeddings: v.optional(v.boolean(), false),
  bos_token_id: tokenIdField(1),
  eos_token_id: tokenIdField(2),
});

/** The family of `model_type` "persimmon". */
export const persimmonFamily: CheckpointFamily = {
  modelTypes: ["persimmon"],
  architectures: ["PersimmonForCausalLM", "PersimmonModel"],
  names: {
    prefix: "model.",
    layers: "layers.",
    model: { "token_embd.weight": "embed_tokens.weight", ...weightAndBias("output_norm", "final_layernorm") },
    layer: {
      ...weightAndBias("attn_norm", "input_layernorm"),
      ...weightAndBias("attn_output", "self_attn.dense"),
      ...weightAndBias("attn_q_norm", "self_attn.q_layernorm"),
      ...weightAndBias("attn_k_norm", "self_attn.k_layernorm"),
      // A norm before the FFN, whatever its name.
      ...weightAndBias("ffn_norm", "post_attention_layernorm"),
      ...weightAndBias("ffn_up", "mlp.dense_h_to_4h"),
      ...weightAndBias("ffn_down", "mlp.dense_4h_to_h"),
    },
  },
  readGeometry,
  partSource: (tensor, geometry) =>
    fusedSource(tensor, geometry, (layer, part) => {
      const name = `layers.${layer}.self_attn.query_key_value.${part}`;
      return [`model.${name}`, name];
    }),
};

function readGeometry(document: unknown, where: string): ModelGeometry {
  const c = checkDocument(config, document, where, "CHECKPOINT_CONFIG");
  const norm: NormGeometry = { kind: "layer", epsilon: c.layer_norm_eps, weight: true, bias: true };
  const nHeads = c.num_attention_heads;
  const headDim = c.hidden_size / nHeads;
  checkHeads({ nHeads, nKvHeads: nHeads, headDim }, where);
  const contextLength = c.max_position_embeddings;
  const turned = { theta: c.rope_theta, headDim, share: c.partial_rotary_factor };
  const rotary = readRotary({ ...turned, scaling: c.rope_scaling, contextLength }, where);
  const { activation, threshold } = readActivation(c.hidden_act, "hidden_act", null, where);
  return {
    architecture: "persimmon",
    dModel: c.hidden_size,
    vocabSize: c.vocab_size,
    contextLength,
    embedding: { dim: c.hidden_size, scale: 1, positions: null },
    layers: equalLayers(c.num_hidden_layers, {
      attention: {
        ...{ nHeads, nKvHeads: nHeads, headDim, rotary, alibi: false, windowTokens: null },
        scale: 1 / Math.sqrt(headDim),
        biases: attentionBiases(true),
        queryKeyNorm: c.qk_layernorm ? { norm, over: "head" } : null,
      },
      ffn: {
        ...{ dFf: c.intermediate_size, gated: false, activation, threshold, upActivation: "none" },
        biases: { gate: false, up: true, down: true },
      },
      norms: normsBefore(norm, norm),
      parallel: false,
    }),
    finalNorm: norm,
    head: { tied: c.tie_word_embeddings, bias: false },
    bosTokenId: c.bos_token_id,
    eosTokenId: c.eos_token_id,
  };
}
