/**
 * Decoders of Phi's form in Hugging Face's: layer norms, an FFN without a gate, biases everywhere, and part of each head rotated.
 *
 *     phi         Phi 1 to 2: attention and FFN in parallel behind one norm; the head has a bias
 *     persimmon   one after the other behind a norm each; squared ReLU, norms of each head of queries and keys, one matrix for query, key and value
 *
 * Source: transformers 4.57, models/{phi,persimmon}/{configuration,modeling}_*.py.
 */
import {
  type Architecture,
  attentionBiases,
  equalLayers,
  type LayerNorms,
  type ModelGeometry,
  type NormGeometry,
  normsBefore,
} from "@flashwick/core";
import * as v from "valibot";
import { MAX_CONTEXT, MAX_WIDTH } from "../../geometry-limits.js";
import { checkDocument } from "../checkpoint-document.js";
import { readActivation } from "./activation-field.js";
import { checkHeads, decoderSizes, epsilonField, sizeField, tokenIdField } from "./config-fields.js";
import { type CheckpointFamily, fusedSource, weightAndBias } from "./family.js";
import { positiveField, readRotary } from "./rotary-fields.js";

/** In what the families differ. */
interface PhiForm {
  readonly architecture: Architecture;
  /** Where config.json has none. */
  readonly defaults: {
    readonly contextLength: number;
    readonly activation: string;
    readonly theta: number;
    readonly headNorms: boolean;
  };
  readonly groupsQueries: boolean;
  norms(norm: NormGeometry): LayerNorms;
  readonly parallel: boolean;
  readonly headBias: boolean;
}

function configOf({ contextLength, activation, theta, headNorms }: PhiForm["defaults"]) {
  return v.object({
    ...decoderSizes,
    num_key_value_heads: v.nullish(sizeField(MAX_WIDTH)),
    max_position_embeddings: v.optional(sizeField(MAX_CONTEXT), contextLength),
    hidden_act: v.optional(v.string(), activation),
    layer_norm_eps: v.optional(epsilonField, 1e-5),
    partial_rotary_factor: v.optional(v.pipe(positiveField, v.maxValue(1)), 0.5),
    rope_theta: v.optional(positiveField, theta),
    rope_scaling: v.optional(v.unknown()),
    qk_layernorm: v.optional(v.boolean(), headNorms),
    tie_word_embeddings: v.optional(v.boolean(), false),
    bos_token_id: tokenIdField(1),
    eos_token_id: tokenIdField(2),
  });
}

/** Names that both have. */
const MODEL_NAMES = { "token_embd.weight": "embed_tokens.weight", ...weightAndBias("output_norm", "final_layernorm") };
const LAYER_NAMES = {
  ...weightAndBias("attn_norm", "input_layernorm"),
  ...weightAndBias("attn_output", "self_attn.dense"),
  ...weightAndBias("attn_q_norm", "self_attn.q_layernorm"),
  ...weightAndBias("attn_k_norm", "self_attn.k_layernorm"),
};

const PHI: PhiForm = {
  architecture: "phi",
  defaults: { contextLength: 2048, activation: "gelu_new", theta: 10000, headNorms: false },
  groupsQueries: true,
  norms: (norm) => normsBefore(norm, null),
  parallel: true,
  // A tied head would keep the bias all the same.
  headBias: true,
};

const PERSIMMON: PhiForm = {
  architecture: "persimmon",
  defaults: { contextLength: 16384, activation: "relu2", theta: 25000, headNorms: true },
  groupsQueries: false,
  norms: (norm) => normsBefore(norm, norm),
  parallel: false,
  headBias: false,
};

/** The family of `model_type` "phi". */
export const phiFamily: CheckpointFamily = {
  modelTypes: ["phi"],
  architectures: ["PhiForCausalLM", "PhiModel"],
  names: {
    prefix: "model.",
    layers: "layers.",
    model: MODEL_NAMES,
    layer: {
      ...LAYER_NAMES,
      ...weightAndBias("attn_q", "self_attn.q_proj"),
      ...weightAndBias("attn_k", "self_attn.k_proj"),
      ...weightAndBias("attn_v", "self_attn.v_proj"),
      ...weightAndBias("ffn_up", "mlp.fc1"),
      ...weightAndBias("ffn_down", "mlp.fc2"),
    },
  },
  readGeometry: (document, where) => readGeometry(PHI, document, where),
};

/** The family of `model_type` "persimmon". */
export const persimmonFamily: CheckpointFamily = {
  modelTypes: ["persimmon"],
  architectures: ["PersimmonForCausalLM", "PersimmonModel"],
  names: {
    prefix: "model.",
    layers: "layers.",
    model: MODEL_NAMES,
    layer: {
      ...LAYER_NAMES,
      // A norm before the FFN, whatever its name.
      ...weightAndBias("ffn_norm", "post_attention_layernorm"),
      ...weightAndBias("ffn_up", "mlp.dense_h_to_4h"),
      ...weightAndBias("ffn_down", "mlp.dense_4h_to_h"),
    },
  },
  readGeometry: (document, where) => readGeometry(PERSIMMON, document, where),
  partSource: (tensor, geometry) =>
    fusedSource(tensor, geometry, (layer, part) => {
      const name = `layers.${layer}.self_attn.query_key_value.${part}`;
      return [`model.${name}`, name];
    }),
};

function readGeometry(form: PhiForm, document: unknown, where: string): ModelGeometry {
  const c = checkDocument(configOf(form.defaults), document, where, "CHECKPOINT_CONFIG");
  const norm: NormGeometry = { kind: "layer", epsilon: c.layer_norm_eps, weight: true, bias: true };
  const nHeads = c.num_attention_heads;
  const nKvHeads = (form.groupsQueries ? c.num_key_value_heads : null) ?? nHeads;
  const headDim = c.hidden_size / nHeads;
  checkHeads({ nHeads, nKvHeads, headDim }, where);
  const contextLength = c.max_position_embeddings;
  const turned = { theta: c.rope_theta, headDim, share: c.partial_rotary_factor };
  const rotary = readRotary({ ...turned, scaling: c.rope_scaling, contextLength }, where);
  const { activation, threshold } = readActivation(c.hidden_act, "hidden_act", null, where);
  return {
    architecture: form.architecture,
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
      norms: form.norms(norm),
      parallel: form.parallel,
    }),
    finalNorm: norm,
    head: { tied: c.tie_word_embeddings, bias: form.headBias },
    bosTokenId: c.bos_token_id,
    eosTokenId: c.eos_token_id,
  };
}
