/**
 * Decoders of Llama's form whose FFNs are mixtures of experts, in Hugging Face's form.
 *
 *     mixtral     two of eight; weights divided by their sum
 *     olmoe       no shared expert; queries and keys are normed over their whole width
 *     qwen2_moe   a shared expert behind a gate; some layers may be dense (Qwen1.5-MoE, Qwen2-57B-A14B)
 *     qwen3_moe   no shared expert; some layers may be dense
 *
 * Source: transformers 4.57, models/{mixtral,olmoe,qwen2_moe,qwen3_moe}/{configuration,modeling}_*.py.
 */
import { attentionBiases, type ExpertsGeometry, type RecordRole, showValue, UnsupportedError } from "@flashwick/core";
import * as v from "valibot";
import { MAX_LAYERS, MAX_WIDTH } from "../../geometry-limits.js";
import { checkDocument } from "../checkpoint-document.js";
import { checkChosen, expertCountField, sizeField } from "./config-fields.js";
import { type CheckpointFamily, namesInLayer, ownMatrices, type TensorNames } from "./family.js";
import { type LayerChange, LLAMA_NAMES, type LlamaForm, llamaFamily } from "./llama.js";

const mixtralConfig = v.object({
  num_local_experts: v.optional(expertCountField, 8),
  num_experts_per_tok: v.optional(expertCountField, 2),
});

const olmoeConfig = v.object({
  num_experts: v.optional(expertCountField, 64),
  num_experts_per_tok: v.optional(expertCountField, 8),
  norm_topk_prob: v.optional(v.boolean(), false),
  clip_qkv: v.nullish(v.number()),
});

const layerNumber = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_LAYERS));
const qwenConfig = v.object({
  num_experts: v.optional(expertCountField),
  num_experts_per_tok: v.optional(expertCountField),
  norm_topk_prob: v.optional(v.boolean(), false),
  moe_intermediate_size: v.optional(sizeField(MAX_WIDTH)),
  shared_expert_intermediate_size: v.optional(sizeField(MAX_WIDTH), 5632),
  decoder_sparse_step: v.optional(sizeField(MAX_LAYERS), 1),
  mlp_only_layers: v.nullish(v.pipe(v.array(layerNumber), v.maxLength(MAX_LAYERS))),
  use_sliding_window: v.optional(v.boolean(), false),
});

/** A router whose weights are the softmax of all logits. */
function softmaxOfAll(count: number, chosen: number, normalised: boolean): ExpertsGeometry {
  return { count, chosen, router: { softmax: "all", normalised, bias: false }, shared: null };
}

function mixtralLayers(document: unknown, where: string): LayerChange {
  const c = checkDocument(mixtralConfig, document, where, "CHECKPOINT_CONFIG");
  checkChosen(c.num_experts_per_tok, c.num_local_experts, "num_local_experts", where);
  const experts = softmaxOfAll(c.num_local_experts, c.num_experts_per_tok, true);
  return (layer) => ({ ...layer, experts });
}

function olmoeLayers(document: unknown, where: string): LayerChange {
  const c = checkDocument(olmoeConfig, document, where, "CHECKPOINT_CONFIG");
  if (typeof c.clip_qkv === "number") throw unsupported("clip_qkv", "null", c.clip_qkv, where);
  checkChosen(c.num_experts_per_tok, c.num_experts, "num_experts", where);
  const experts = softmaxOfAll(c.num_experts, c.num_experts_per_tok, c.norm_topk_prob);
  return (layer) => ({ ...layer, experts });
}

/** What Qwen's configurations take where config.json has nothing. */
interface QwenDefaults {
  readonly count: number;
  readonly chosen: number;
  readonly dFf: number;
  readonly isShared: boolean;
}

function qwenLayers({ isShared, ...defaults }: QwenDefaults) {
  return (document: unknown, where: string): LayerChange => {
    const c = checkDocument(qwenConfig, document, where, "CHECKPOINT_CONFIG");
    if (c.use_sliding_window) throw unsupported("use_sliding_window", "false", true, where);
    const [count, chosen] = [c.num_experts ?? defaults.count, c.num_experts_per_tok ?? defaults.chosen];
    checkChosen(chosen, count, "num_experts", where);
    const shared = isShared ? { dFf: c.shared_expert_intermediate_size, gated: true } : null;
    const experts = { ...softmaxOfAll(count, chosen, c.norm_topk_prob), shared };
    const dense = new Set(c.mlp_only_layers ?? []);
    return (layer, index) => {
      if (dense.has(index) || (index + 1) % c.decoder_sparse_step !== 0) return layer;
      return { ...layer, ffn: { ...layer.ffn, dFf: c.moe_intermediate_size ?? defaults.dFf }, experts };
    };
  };
}

function unsupported(field: string, expected: string, found: unknown, where: string): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${where}: field ${field}: expected ${expected}, found ${showValue(found)}; convert another checkpoint`,
    { details: { file: where, field } },
  );
}

const NAMES: TensorNames = {
  ...LLAMA_NAMES,
  layer: {
    ...LLAMA_NAMES.layer,
    "ffn_gate_inp.weight": "mlp.gate.weight",
    "ffn_gate_shexp.weight": "mlp.shared_expert.gate_proj.weight",
    "ffn_up_shexp.weight": "mlp.shared_expert.up_proj.weight",
    "ffn_down_shexp.weight": "mlp.shared_expert.down_proj.weight",
  },
};

const MIXTRAL_NAMES: TensorNames = {
  ...NAMES,
  layer: { ...NAMES.layer, "ffn_gate_inp.weight": "block_sparse_moe.gate.weight" },
};

const MIXTRAL_MATRICES: Readonly<Record<RecordRole, string>> = { gate: "w1", up: "w3", down: "w2" };

/** What the families but Mixtral have besides a form. */
const OF_EXPERTS: Partial<CheckpointFamily> = {
  names: NAMES,
  expertForms: (layer, geometry) => [
    ownMatrices(NAMES, layer, geometry, (expert, role) => `mlp.experts.${expert}.${role}_proj.weight`),
  ],
  partSource({ name, cols }) {
    const layer = /^blk\.(\d+)\.ffn_gate_inp_shexp\.weight$/.exec(name)?.[1];
    if (layer === undefined) return null;
    return { names: namesInLayer(NAMES, Number(layer), "mlp.shared_expert_gate.weight"), shape: [1, cols] };
  },
};

const NO_WINDOW: Pick<LlamaForm, "windowTokens"> = { windowTokens: () => null };

export const mixtralFamily: CheckpointFamily = llamaFamily(
  {
    architecture: "mixtral",
    ...{ contextLength: 131072, epsilon: 1e-5, theta: 1_000_000 },
    biases: () => attentionBiases(false),
    queryKeyNorm: null,
    mixture: mixtralLayers,
    windowTokens: ({ sliding_window: window }) => window ?? null,
    ...{ bosTokenId: 1, eosTokenId: 2 },
  },
  ["mixtral"],
  ["MixtralForCausalLM", "MixtralModel"],
  {
    names: MIXTRAL_NAMES,
    expertForms: (layer, geometry) => [
      ownMatrices(MIXTRAL_NAMES, layer, geometry, (expert, role) => {
        return `block_sparse_moe.experts.${expert}.${MIXTRAL_MATRICES[role]}.weight`;
      }),
    ],
  },
);

export const olmoeFamily: CheckpointFamily = llamaFamily(
  {
    architecture: "olmoe",
    ...{ contextLength: 4096, epsilon: 1e-5 },
    biases: (c) => attentionBiases(c.attention_bias),
    queryKeyNorm: "width",
    mixture: olmoeLayers,
    ...NO_WINDOW,
    ...{ bosTokenId: null, eosTokenId: 50279 },
  },
  ["olmoe"],
  ["OlmoeForCausalLM", "OlmoeModel"],
  OF_EXPERTS,
);

export const qwen2MoeFamily: CheckpointFamily = llamaFamily(
  {
    architecture: "qwen2moe",
    contextLength: 32768,
    biases: () => ({ query: true, key: true, value: true, output: false }),
    queryKeyNorm: null,
    mixture: qwenLayers({ count: 60, chosen: 4, dFf: 1408, isShared: true }),
    ...NO_WINDOW,
    ...{ bosTokenId: null, eosTokenId: null },
  },
  ["qwen2_moe"],
  ["Qwen2MoeForCausalLM", "Qwen2MoeModel"],
  OF_EXPERTS,
);

export const qwen3MoeFamily: CheckpointFamily = llamaFamily(
  {
    architecture: "qwen3moe",
    contextLength: 32768,
    biases: (c) => attentionBiases(c.attention_bias),
    queryKeyNorm: "head",
    mixture: qwenLayers({ count: 128, chosen: 8, dFf: 768, isShared: false }),
    ...NO_WINDOW,
    ...{ bosTokenId: null, eosTokenId: null },
  },
  ["qwen3_moe"],
  ["Qwen3MoeForCausalLM", "Qwen3MoeModel"],
  OF_EXPERTS,
);
