/**
 * Decoders of Llama's form in Hugging Face's: RMS norms before attention and a gated FFN, grouped queries, rotary positions, no table.
 *
 *     llama     Llama 1 to 3, SmolLM2, TinyLlama; with ReLU ReluLLaMA, with FATReLU ProSparse
 *     mistral   a sliding window in every layer, or none
 *     bamboo    Mistral with ReLU on gate and up projection (dReLU): Bamboo, TurboSparse-Mistral, whose merged predictors are left where they are
 *     qwen2     biases of queries, keys and values
 *     qwen3     a norm of each head of queries and keys
 *
 * Source: transformers 4.57, models/{llama,mistral,qwen2,qwen3}/{configuration,modeling}_*.py; of Bamboo the model's card and configuration_bamboo.py.
 */
import {
  type Architecture,
  type AttentionGeometry,
  attentionBiases,
  type FfnGeometry,
  type LayerGeometry,
  type ModelGeometry,
  type NormGeometry,
  normsBefore,
  UnsupportedError,
} from "@flashwick/core";
import * as v from "valibot";
import { MAX_CONTEXT, MAX_WIDTH } from "../../geometry-limits.js";
import { checkDocument } from "../checkpoint-document.js";
import { readActivation } from "./activation-field.js";
import { checkHeads, decoderSizes, epsilonField, sizeField, tokenIdField } from "./config-fields.js";
import { type CheckpointFamily, type TensorNames, weightAndBias } from "./family.js";
import { positiveField, readRotary } from "./rotary-fields.js";

const config = v.object({
  ...decoderSizes,
  num_key_value_heads: v.nullish(sizeField(MAX_WIDTH)),
  head_dim: v.nullish(sizeField(MAX_WIDTH)),
  max_position_embeddings: v.optional(sizeField(MAX_CONTEXT)),
  hidden_act: v.optional(v.string(), "silu"),
  hidden_act_param: v.nullish(v.number()),
  rms_norm_eps: v.optional(epsilonField),
  rope_theta: v.optional(positiveField),
  rope_scaling: v.optional(v.unknown()),
  attention_bias: v.optional(v.boolean(), false),
  mlp_bias: v.optional(v.boolean(), false),
  sliding_window: v.nullish(sizeField(MAX_CONTEXT)),
  use_sliding_window: v.optional(v.boolean(), false),
  max_window_layers: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0))),
  layer_types: v.nullish(v.array(v.picklist(["full_attention", "sliding_attention"]))),
  tie_word_embeddings: v.optional(v.boolean(), false),
  bos_token_id: tokenIdField(null),
  eos_token_id: tokenIdField(null),
});
export type LlamaConfig = v.InferOutput<typeof config>;
type Config = LlamaConfig;

/** The names of every family of this form. */
export const LLAMA_NAMES: TensorNames = {
  prefix: "model.",
  layers: "layers.",
  model: { "token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight" },
  layer: {
    "attn_norm.weight": "input_layernorm.weight",
    ...weightAndBias("attn_q", "self_attn.q_proj"),
    ...weightAndBias("attn_k", "self_attn.k_proj"),
    ...weightAndBias("attn_v", "self_attn.v_proj"),
    ...weightAndBias("attn_output", "self_attn.o_proj"),
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    // A norm before the FFN, whatever its name.
    "ffn_norm.weight": "post_attention_layernorm.weight",
    ...weightAndBias("ffn_gate", "mlp.gate_proj"),
    ...weightAndBias("ffn_up", "mlp.up_proj"),
    ...weightAndBias("ffn_down", "mlp.down_proj"),
  },
};

/** A layer as the rest of config.json has it: a mixture in place of its FFN. */
export type LayerChange = (layer: LayerGeometry, index: number) => LayerGeometry;

/** In what the families differ. */
export interface LlamaForm {
  readonly architecture: Architecture;
  /** Where config.json has none. */
  readonly contextLength: number;
  /** Default 1e-6. */
  readonly epsilon?: number;
  /** Default 10000. */
  readonly theta?: number;
  biases(config: Config): AttentionGeometry["biases"];
  /** Over what queries and keys are normed; null: they are not. */
  readonly queryKeyNorm: "head" | "width" | null;
  /** @throws As `readGeometry` of {@link CheckpointFamily}. */
  mixture?(document: unknown, where: string): LayerChange;
  windowTokens(config: Config, layer: number): number | null;
  /** The gate's activation is the up projection's, too. */
  readonly isDoubled?: boolean;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
}

/** @param rest What a family has besides: names of its own, experts. */
export function llamaFamily(
  form: LlamaForm,
  modelTypes: readonly string[],
  architectures: readonly string[],
  rest: Partial<CheckpointFamily> = {},
): CheckpointFamily {
  return {
    modelTypes,
    architectures,
    names: LLAMA_NAMES,
    readGeometry: (document, where) => readGeometry(form, document, where),
    ...rest,
  };
}

function readGeometry(form: LlamaForm, document: unknown, where: string): ModelGeometry {
  const c = checkDocument(config, document, where, "CHECKPOINT_CONFIG");
  const has = (field: string) => typeof document === "object" && document !== null && field in document;
  const epsilon = c.rms_norm_eps ?? form.epsilon ?? 1e-6;
  const norm: NormGeometry = { kind: "rms", epsilon, weight: true, bias: false };
  const contextLength = c.max_position_embeddings ?? form.contextLength;
  const layer = layerOf(form, c, norm, contextLength, where);
  const change = form.mixture?.(document, where) ?? ((dense) => dense);
  const layers = oncePerLayer(c.num_hidden_layers, (index) => {
    return change({ ...layer, attention: { ...layer.attention, windowTokens: form.windowTokens(c, index) } }, index);
  });
  return {
    architecture: form.architecture,
    dModel: c.hidden_size,
    vocabSize: c.vocab_size,
    contextLength,
    embedding: { dim: c.hidden_size, scale: 1, positions: null },
    layers,
    finalNorm: norm,
    head: { tied: c.tie_word_embeddings, bias: false },
    bosTokenId: has("bos_token_id") ? c.bos_token_id : form.bosTokenId,
    eosTokenId: has("eos_token_id") ? c.eos_token_id : form.eosTokenId,
  };
}

/** Layers of which equal ones are one object. */
export function oncePerLayer(count: number, layerOf: (index: number) => LayerGeometry): readonly LayerGeometry[] {
  const known = new Map<string, LayerGeometry>();
  return Array.from({ length: count }, (_, index) => {
    const made = layerOf(index);
    const text = JSON.stringify(made);
    const layer = known.get(text) ?? made;
    known.set(text, layer);
    return layer;
  });
}

function layerOf(form: LlamaForm, c: Config, norm: NormGeometry, contextLength: number, where: string): LayerGeometry {
  const nHeads = c.num_attention_heads;
  const nKvHeads = c.num_key_value_heads ?? nHeads;
  const headDim = c.head_dim ?? c.hidden_size / nHeads;
  checkHeads({ nHeads, nKvHeads, headDim }, where);
  const rotary = readRotary(
    { theta: c.rope_theta ?? form.theta ?? 10000, headDim, scaling: c.rope_scaling, contextLength },
    where,
  );
  const ffn = readFfnActivation(form, c, where);
  return {
    attention: {
      ...{ nHeads, nKvHeads, headDim, rotary },
      scale: 1 / Math.sqrt(headDim),
      biases: form.biases(c),
      queryKeyNorm: form.queryKeyNorm ? { norm, over: form.queryKeyNorm } : null,
      alibi: false,
      windowTokens: null,
    },
    ffn: {
      ...{ dFf: c.intermediate_size, gated: true, ...ffn },
      biases: { gate: c.mlp_bias, up: c.mlp_bias, down: c.mlp_bias },
    },
    norms: normsBefore(norm, norm),
    parallel: false,
  };
}

/** @throws {UnsupportedError} `UNSUPPORTED_ACTIVATION`: of functions on both projections only ReLU is known. */
function readFfnActivation(
  { isDoubled = false }: LlamaForm,
  c: Config,
  where: string,
): Pick<FfnGeometry, "activation" | "threshold" | "upActivation"> {
  const read = readActivation(c.hidden_act, "hidden_act", c.hidden_act_param, where);
  if (!isDoubled) return { ...read, upActivation: "none" };
  if (read.activation === "relu") return { ...read, upActivation: "relu" };
  throw new UnsupportedError(
    "UNSUPPORTED_ACTIVATION",
    `${where}: field hidden_act: expected relu, which dReLU has on gate and up projection, found ${JSON.stringify(c.hidden_act)}; convert another checkpoint`,
    { details: { file: where, field: "hidden_act", activation: c.hidden_act } },
  );
}

/** Qwen: only if told to, and then the listed layers, or from `max_window_layers` on. */
function qwenWindow(c: Config, layer: number): number | null {
  if (!c.use_sliding_window) return null;
  const isWindowed = c.layer_types
    ? c.layer_types[layer] === "sliding_attention"
    : layer >= (c.max_window_layers ?? DEFAULT_MAX_WINDOW_LAYERS);
  return isWindowed ? (c.sliding_window ?? DEFAULT_WINDOW) : null;
}

const DEFAULT_MAX_WINDOW_LAYERS = 28;
const DEFAULT_WINDOW = 4096;

/** The family of `model_type` "llama", and of ProSparse's own code for it. */
export const llamaFormFamily: CheckpointFamily = llamaFamily(
  {
    architecture: "llama",
    contextLength: 2048,
    biases: (c) => attentionBiases(c.attention_bias),
    queryKeyNorm: null,
    windowTokens: () => null,
    ...{ bosTokenId: 1, eosTokenId: 2 },
  },
  ["llama", "sparsellama"],
  ["LlamaForCausalLM", "LlamaModel", "LLaMAForCausalLM", "SparseLlamaForCausalLM"],
);

const MISTRAL_FORM: LlamaForm = {
  architecture: "mistral",
  contextLength: 131072,
  biases: () => attentionBiases(false),
  queryKeyNorm: null,
  // Null: no window; absent: the default of MistralConfig.
  windowTokens: ({ sliding_window: window }) => (window === undefined ? DEFAULT_WINDOW : window),
  ...{ bosTokenId: 1, eosTokenId: 2 },
};

/** The family of `model_type` "bamboo": Bamboo, and TurboSparse-Mistral. */
export const bambooFamily: CheckpointFamily = llamaFamily(
  { ...MISTRAL_FORM, architecture: "bamboo", isDoubled: true },
  ["bamboo"],
  ["BambooForCausalLM", "BambooModel"],
);

export const mistralFamily: CheckpointFamily = llamaFamily(
  MISTRAL_FORM,
  ["mistral"],
  ["MistralForCausalLM", "MistralModel"],
);

export const qwen2Family: CheckpointFamily = llamaFamily(
  {
    architecture: "qwen2",
    contextLength: 32768,
    biases: () => ({ query: true, key: true, value: true, output: false }),
    queryKeyNorm: null,
    windowTokens: qwenWindow,
    ...{ bosTokenId: null, eosTokenId: null },
  },
  ["qwen2"],
  ["Qwen2ForCausalLM", "Qwen2Model"],
);

export const qwen3Family: CheckpointFamily = llamaFamily(
  {
    architecture: "qwen3",
    contextLength: 32768,
    biases: (c) => attentionBiases(c.attention_bias),
    queryKeyNorm: "head",
    windowTokens: qwenWindow,
    ...{ bosTokenId: null, eosTokenId: null },
  },
  ["qwen3"],
  ["Qwen3ForCausalLM", "Qwen3Model"],
);
