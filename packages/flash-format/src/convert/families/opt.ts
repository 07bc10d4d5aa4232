/**
 * OPT in Hugging Face's form (OPTForCausalLM): 125M to 66B, the post-norm 350M among them.
 *
 * Source: transformers, models/opt/{configuration_opt,modeling_opt}.py. Defaults below are OPTConfig's; sizes have none here,
 * since a config.json without them is damaged rather than terse.
 */
import {
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
import { checkDocument } from "../checkpoint-document.js";
import { checkHeads, sizeField, tokenIdField } from "./config-fields.js";
import { type CheckpointFamily, weightAndBias } from "./family.js";

/** OPTLearnedPositionalEmbedding: position p is row p + 2, since fairseq's padding took the first rows. */
const POSITION_OFFSET = 2;
/** torch's nn.LayerNorm default; OPTConfig has no field for it. */
const NORM_EPSILON = 1e-5;

const optConfig = v.object({
  num_hidden_layers: sizeField(MAX_LAYERS),
  hidden_size: sizeField(MAX_WIDTH),
  ffn_dim: sizeField(MAX_WIDTH),
  num_attention_heads: sizeField(MAX_WIDTH),
  vocab_size: sizeField(MAX_VOCAB),
  max_position_embeddings: sizeField(MAX_CONTEXT),
  word_embed_proj_dim: v.nullish(sizeField(MAX_WIDTH)),
  activation_function: v.optional(v.string(), "relu"),
  do_layer_norm_before: v.optional(v.boolean(), true),
  _remove_final_layer_norm: v.optional(v.boolean(), false),
  layer_norm_elementwise_affine: v.optional(v.boolean(), true),
  enable_bias: v.optional(v.boolean(), true),
  tie_word_embeddings: v.optional(v.boolean(), true),
  bos_token_id: tokenIdField(2),
  eos_token_id: tokenIdField(2),
});

type OptConfig = v.InferOutput<typeof optConfig>;

/** The family of `model_type` "opt". */
export const optFamily: CheckpointFamily = {
  modelTypes: ["opt"],
  architectures: ["OPTForCausalLM", "OPTModel"],
  // OPTForCausalLM saves `model.decoder.…`, OPTModel `decoder.…`; the hub has both under either class name.
  names: {
    prefix: "model.",
    layers: "decoder.layers.",
    model: {
      "token_embd.weight": "decoder.embed_tokens.weight",
      "position_embd.weight": "decoder.embed_positions.weight",
      "project_in.weight": "decoder.project_in.weight",
      "project_out.weight": "decoder.project_out.weight",
      ...weightAndBias("output_norm", "decoder.final_layer_norm"),
    },
    layer: {
      ...weightAndBias("attn_norm", "self_attn_layer_norm"),
      ...weightAndBias("attn_q", "self_attn.q_proj"),
      ...weightAndBias("attn_k", "self_attn.k_proj"),
      ...weightAndBias("attn_v", "self_attn.v_proj"),
      ...weightAndBias("attn_output", "self_attn.out_proj"),
      ...weightAndBias("ffn_norm", "final_layer_norm"),
      ...weightAndBias("ffn_up", "fc1"),
      ...weightAndBias("ffn_down", "fc2"),
    },
  },
  readGeometry,
};

function readGeometry(document: unknown, where: string): ModelGeometry {
  const config = checkDocument(optConfig, document, where, "CHECKPOINT_CONFIG");
  checkActivation(config.activation_function, where);
  const dModel = config.hidden_size;
  const nHeads = config.num_attention_heads;
  checkHeads({ nHeads, nKvHeads: nHeads, headDim: dModel / nHeads }, where);
  const affine = config.layer_norm_elementwise_affine;
  const norm: NormGeometry = { kind: "layer", epsilon: NORM_EPSILON, weight: affine, bias: affine };
  return {
    architecture: "opt",
    dModel,
    vocabSize: config.vocab_size,
    contextLength: config.max_position_embeddings,
    embedding: { dim: config.word_embed_proj_dim ?? dModel, scale: 1, positions: { offset: POSITION_OFFSET } },
    layers: equalLayers(config.num_hidden_layers, layerOf(config, norm)),
    // OPTDecoder makes one only in the pre-norm form.
    finalNorm: config.do_layer_norm_before && !config._remove_final_layer_norm ? norm : null,
    head: { tied: config.tie_word_embeddings, bias: false },
    bosTokenId: config.bos_token_id,
    eosTokenId: config.eos_token_id,
  };
}

function layerOf(config: OptConfig, norm: NormGeometry): LayerGeometry {
  const nHeads = config.num_attention_heads;
  const headDim = config.hidden_size / nHeads;
  const bias = config.enable_bias;
  return {
    attention: {
      ...{ nHeads, nKvHeads: nHeads, headDim },
      scale: 1 / Math.sqrt(headDim),
      biases: attentionBiases(bias),
      queryKeyNorm: null,
      rotary: null,
      alibi: false,
      windowTokens: null,
    },
    ffn: {
      dFf: config.ffn_dim,
      gated: false,
      activation: "relu",
      threshold: 0,
      upActivation: "none",
      biases: { gate: false, up: bias, down: bias },
    },
    norms: config.do_layer_norm_before
      ? normsBefore(norm, norm)
      : { ...normsBefore(null, null), attentionSum: norm, ffnSum: norm },
    parallel: false,
  };
}

function checkActivation(activation: string, where: string): void {
  if (activation === "relu") return;
  throw new UnsupportedError(
    "UNSUPPORTED_ACTIVATION",
    `${where}: field activation_function: expected "relu", found ${showValue(activation)}; neurons can be left on flash only if the activation gives exact zeros, so convert a ReLU checkpoint`,
    { details: { file: where, field: "activation_function", activation } },
  );
}
