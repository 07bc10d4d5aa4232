/**
 * OPT in Hugging Face's form (OPTForCausalLM): 125M to 66B, the post-norm 350M among them.
 *
 * Source: transformers, models/opt/{configuration_opt,modeling_opt}.py. Defaults below are OPTConfig's; sizes have none here,
 * since a config.json without them is damaged rather than terse.
 */
import {
  assert,
  attentionBiases,
  equalLayers,
  type LayerGeometry,
  type ModelGeometry,
  type NormGeometry,
  normsBefore,
  UnsupportedError,
} from "@flashwick/core";
import * as v from "valibot";
import type { TensorRole } from "../../model-file.js";
import type { TensorShape } from "../../model-writer.js";
import { checkDocument } from "../checkpoint-document.js";
import { MAX_CONTEXT, MAX_LAYERS, MAX_VOCAB, MAX_WIDTH, sizeField, tokenIdField } from "./config-fields.js";
import type { CheckpointFamily, WeightSource } from "./family.js";

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

/** Checkpoint name of each role, without the leading `model.` that some checkpoints have. */
const MODEL_NAMES: Partial<Record<TensorRole, string>> = {
  "token_embd.weight": "decoder.embed_tokens.weight",
  "position_embd.weight": "decoder.embed_positions.weight",
  "project_in.weight": "decoder.project_in.weight",
  "project_out.weight": "decoder.project_out.weight",
  "output_norm.weight": "decoder.final_layer_norm.weight",
  "output_norm.bias": "decoder.final_layer_norm.bias",
};

/** The same for the tensors of a layer, after `decoder.layers.<layer>.`. */
const LAYER_NAMES: Partial<Record<TensorRole, string>> = {
  "attn_norm.weight": "self_attn_layer_norm.weight",
  "attn_norm.bias": "self_attn_layer_norm.bias",
  "attn_q.weight": "self_attn.q_proj.weight",
  "attn_q.bias": "self_attn.q_proj.bias",
  "attn_k.weight": "self_attn.k_proj.weight",
  "attn_k.bias": "self_attn.k_proj.bias",
  "attn_v.weight": "self_attn.v_proj.weight",
  "attn_v.bias": "self_attn.v_proj.bias",
  "attn_output.weight": "self_attn.out_proj.weight",
  "attn_output.bias": "self_attn.out_proj.bias",
  "ffn_norm.weight": "final_layer_norm.weight",
  "ffn_norm.bias": "final_layer_norm.bias",
  "ffn_up.bias": "fc1.bias",
  "ffn_down.bias": "fc2.bias",
};

/** The family of `model_type` "opt". */
export const optFamily: CheckpointFamily = {
  modelType: "opt",
  architectures: ["OPTForCausalLM", "OPTModel"],
  readGeometry,
  residentSource(tensor, _geometry) {
    return { names: residentNames(tensor.name), shape: checkpointShape(tensor) };
  },
  ffnSource(layer, { layers, dModel }): { up: WeightSource; down: WeightSource } {
    const { dFf } = layers[layer]!.ffn;
    return {
      up: { names: withAndWithoutPrefix(`decoder.layers.${layer}.fc1.weight`), shape: [dFf, dModel] },
      down: { names: withAndWithoutPrefix(`decoder.layers.${layer}.fc2.weight`), shape: [dModel, dFf] },
    };
  },
};

function readGeometry(document: unknown, where: string): ModelGeometry {
  const config = checkDocument(optConfig, document, where, "CHECKPOINT_CONFIG");
  checkActivation(config.activation_function, where);
  const dModel = config.hidden_size;
  const nHeads = config.num_attention_heads;
  checkDocument(
    v.object({ num_attention_heads: v.custom(() => dModel % nHeads === 0, "a divisor of hidden_size") }),
    { num_attention_heads: nHeads },
    where,
    "CHECKPOINT_CONFIG",
  );
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
    `${where}: field activation_function: expected "relu", found ${JSON.stringify(activation)}; neurons can be left on flash only if the activation gives exact zeros, so convert a ReLU checkpoint`,
    { details: { file: where, field: "activation_function", activation } },
  );
}

function residentNames(name: string): string[] {
  if (name === "output.weight") return ["lm_head.weight"];
  const inLayer = /^blk\.(\d+)\.(.+)$/.exec(name);
  const rest = inLayer ? LAYER_NAMES[inLayer[2] as TensorRole] : MODEL_NAMES[name as TensorRole];
  assert(rest !== undefined, `OPT has no tensor ${name}`);
  return withAndWithoutPrefix(inLayer ? `decoder.layers.${inLayer[1]}.${rest}` : rest);
}

/** OPTForCausalLM saves `model.decoder.…`, OPTModel `decoder.…`; the hub has both under either class name. */
function withAndWithoutPrefix(name: string): string[] {
  return [`model.${name}`, name];
}

function checkpointShape({ name, rows, cols }: TensorShape): number[] {
  const isVector = name.endsWith(".bias") || name.endsWith("_norm.weight");
  return isVector ? [cols] : [rows, cols];
}
