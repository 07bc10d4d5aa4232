/**
 * Phi 1 to 2 in Hugging Face's form: attention and FFN in parallel behind one layer norm, biases everywhere, the head's too, and part of each
 * head rotated.
 *
 * Source: transformers 4.57, models/phi/{configuration,modeling}_phi.py.
 */
import { attentionBiases, equalLayers, type ModelGeometry, type NormGeometry, normsBefore } from "@flashwick/core";
import * as v from "valibot";
import { MAX_CONTEXT, MAX_LAYERS, MAX_VOCAB, MAX_WIDTH } from "../../geometry-limits.js";
import { checkDocument } from "../checkpoint-document.js";
import { readActivation } from "./activation-field.js";
import { sizeField, tokenIdField } from "./config-fields.js";
import { type CheckpointFamily, weightAndBias } from "./family.js";
import { checkHeads } from "./llama.js";
import { positiveField, readRotary } from "./rotary-fields.js";

const config = v.object({
  hidden_size: sizeField(MAX_WIDTH),
  intermediate_size: sizeField(MAX_WIDTH),
  num_hidden_layers: sizeField(MAX_LAYERS),
  num_attention_heads: sizeField(MAX_WIDTH),
  num_key_value_heads: v.nullish(sizeField(MAX_WIDTH)),
  vocab_size: sizeField(MAX_VOCAB),
  max_position_embeddings: v.optional(sizeField(MAX_CONTEXT), 2048),
  hidden_act: v.optional(v.string(), "gelu_new"),
  layer_norm_eps: v.optional(v.pipe(v.number(), v.gtValue(0), v.ltValue(1)), 1e-5),
  partial_rotary_factor: v.optional(v.pipe(positiveField, v.maxValue(1)), 0.5),
  rope_theta: v.optional(positiveField, 10000),
  rope_scaling: v.optional(v.unknown()),
  qk_layernorm: v.optional(v.boolean(), false),
  tie_word_embeddings: v.optional(v.boolean(), false),
  bos_token_id: tokenIdField(1),
  eos_token_id: tokenIdField(2),
});

/** The family of `model_type` "phi". */
export const phiFamily: CheckpointFamily = {
  modelTypes: ["phi"],
  architectures: ["PhiForCausalLM", "PhiModel"],
  names: {
    prefix: "model.",
    layers: "layers.",
    model: { "token_embd.weight": "embed_tokens.weight", ...weightAndBias("output_norm", "final_layernorm") },
    layer: {
      ...weightAndBias("attn_norm", "input_layernorm"),
      ...weightAndBias("attn_q", "self_attn.q_proj"),
      ...weightAndBias("attn_k", "self_attn.k_proj"),
      ...weightAndBias("attn_v", "self_attn.v_proj"),
      ...weightAndBias("attn_output", "self_attn.dense"),
      ...weightAndBias("attn_q_norm", "self_attn.q_layernorm"),
      ...weightAndBias("attn_k_norm", "self_attn.k_layernorm"),
      ...weightAndBias("ffn_up", "mlp.fc1"),
      ...weightAndBias("ffn_down", "mlp.fc2"),
    },
  },
  readGeometry,
};

function readGeometry(document: unknown, where: string): ModelGeometry {
  const c = checkDocument(config, document, where, "CHECKPOINT_CONFIG");
  const norm: NormGeometry = { kind: "layer", epsilon: c.layer_norm_eps, weight: true, bias: true };
  const nHeads = c.num_attention_heads;
  const nKvHeads = c.num_key_value_heads ?? nHeads;
  const headDim = c.hidden_size / nHeads;
  checkHeads({ nHeads, nKvHeads, headDim }, where);
  const contextLength = c.max_position_embeddings;
  const turned = { theta: c.rope_theta, headDim, share: c.partial_rotary_factor };
  const rotary = readRotary({ ...turned, scaling: c.rope_scaling, contextLength }, where);
  const { activation, threshold } = readActivation(c.hidden_act, "hidden_act", null, where);
  return {
    architecture: "phi",
    dModel: c.hidden_size,
    vocabSize: c.vocab_size,
    contextLength,
    embedding: { dim: c.hidden_size, scale: 1, positions: null },
    layers: equalLayers(c.num_hidden_layers, {
      attention: {
        ...{ nHeads, nKvHeads, headDim, rotary, alibi: false, windowTokens: null },
        scale: 1 / Math.sqrt(headDim),
        biases: attentionBiases(true),
        queryKeyNorm: c.qk_layernorm ? { norm, over: "head" } : null,
      },
      ffn: {
        ...{ dFf: c.intermediate_size, gated: false, activation, threshold, upActivation: "none" },
        biases: { gate: false, up: true, down: true },
      },
      norms: normsBefore(norm, null),
      parallel: true,
    }),
    finalNorm: norm,
    // A tied head would keep the bias all the same.
    head: { tied: c.tie_word_embeddings, bias: true },
    bosTokenId: c.bos_token_id,
    eosTokenId: c.eos_token_id,
  };
}
