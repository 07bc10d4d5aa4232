/**
 * What architectures of llama.cpp's fix without saying so in the file: how layers are composed, how positions turn queries and keys, how experts are
 * chosen. Source: src/llama-model.cpp (`llama_model_rope_type`), src/models/*.cpp.
 */
import type { Activation, Architecture, ExpertsGeometry, NormGeometry, RotaryGeometry } from "@flashwick/core";

/** What an architecture of llama.cpp's fixes. */
export interface LlamaCppForm {
  readonly architecture: Architecture;
  readonly norm: NormGeometry["kind"];
  readonly pairs: RotaryGeometry["pairs"];
  readonly gated: boolean;
  readonly activation: Activation;
  readonly parallel: boolean;
  /** What a norm of queries and keys is over, where the file has one. */
  readonly queryKeyNorm: "head" | "width";
  readonly sinks: boolean;
  /** Null: every layer sees everything before it. */
  readonly windows: WindowForm | null;
  /** Null: every layer has one FFN. */
  readonly experts: ExpertsForm | null;
}

/** Layers with a window, and others between them. */
export interface WindowForm {
  /** Every so many layers the last has no window, where the file does not say. */
  readonly period: number;
  /** Rotary base of layers with a window, where the file does not say; null: that of the others. */
  readonly theta: number | null;
  /** Layers with a window stretch their frequencies as the others do. */
  readonly scaled: boolean;
}

export interface ExpertsForm {
  /** What the model is called where the same architecture also has files without experts; these are of one FFN a layer then. */
  readonly optional: Architecture | null;
  readonly softmax: ExpertsGeometry["router"]["softmax"];
  readonly normalised: boolean;
  /** Of the router, and of every expert's gate, up and down. */
  readonly biases: boolean;
  /** Every token also uses a shared expert, behind a sigmoid. */
  readonly shared: boolean;
  /**
   * Which keys have an expert's width: `feed_forward_length`; `expert_feed_forward_length`; or `either`, the latter, and without it the former divided
   * by the number of chosen ones.
   */
  readonly width: "layer" | "expert" | "either";
}

const GATED: LlamaCppForm = {
  ...{ architecture: "llama", norm: "rms", pairs: "halves", gated: true, activation: "silu", parallel: false },
  ...{ queryKeyNorm: "head", sinks: false, windows: null, experts: null },
};
const PARALLEL: LlamaCppForm = { ...GATED, norm: "layer", gated: false, parallel: true };
/** Mixtral's. */
const EXPERTS: ExpertsForm = {
  ...{ optional: null, softmax: "all", normalised: true, biases: false, shared: false, width: "layer" },
};

/** By the name in `general.architecture`. */
export const FORMS = {
  llama: { ...GATED, pairs: "neighbours", experts: { ...EXPERTS, optional: "mixtral" } },
  qwen2: { ...GATED, architecture: "qwen2" },
  qwen3: { ...GATED, architecture: "qwen3" },
  gemma3: {
    ...{ ...GATED, architecture: "gemma3", activation: "gelu-tanh" },
    windows: { period: 6, theta: 10000, scaled: false },
  },
  phi2: { ...PARALLEL, architecture: "phi", activation: "gelu-tanh" },
  // llama.cpp computes the tanh form here, too; Falcon was trained with this one (transformers, models/falcon).
  falcon: { ...PARALLEL, architecture: "falcon", activation: "gelu" },
  olmoe: {
    ...{ ...GATED, architecture: "olmoe", queryKeyNorm: "width" },
    experts: { ...EXPERTS, normalised: false },
  },
  qwen2moe: {
    ...{ ...GATED, architecture: "qwen2moe" },
    experts: { ...EXPERTS, normalised: false, shared: true, width: "either" },
  },
  qwen3moe: { ...GATED, architecture: "qwen3moe", experts: { ...EXPERTS, width: "either" } },
  "gpt-oss": {
    ...{ ...GATED, architecture: "gpt-oss", activation: "swiglu-clamped", sinks: true },
    windows: { period: 2, theta: null, scaled: true },
    experts: { ...EXPERTS, softmax: "chosen", normalised: false, biases: true, width: "expert" },
  },
} satisfies Record<string, LlamaCppForm>;

export type LlamaCppArchitecture = keyof typeof FORMS;

/** Names of `general.architecture` that run. */
export const LLAMA_CPP_ARCHITECTURES = Object.keys(FORMS) as readonly LlamaCppArchitecture[];
