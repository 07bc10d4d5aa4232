/**
 * What a GGUF file of llama.cpp says of its model, as a geometry. Which keys a family has, and what a missing one means, is llama.cpp's
 * (src/llama-arch.cpp, src/models/*.cpp); which biases, norms and heads there are is told by the tensors that are there.
 *
 *     llama     Llama 1 to 3, Mistral, SmolLM2, TinyLlama; rows of q and k are permuted, so that rotary pairs are neighbours
 *     qwen2     biases of queries, keys and values
 *     qwen3     a norm of each head of queries and keys
 *     gemma3    four norms a layer, sliding windows with a rotary base of their own; 1 is in the norms' weights already
 *     phi2      Phi 1 to 2: attention and FFN in parallel behind one layer norm, no gate, part of each head rotated
 *     falcon    7B and 40B: the same with whole heads and without biases; 40B norms attention's input and the FFN's apart
 *     olmoe     experts; a norm of queries and keys over the whole width
 *     qwen2moe  experts, and a shared one; biases of queries, keys and values
 *     qwen3moe  experts; a norm of each head of queries and keys
 *     gpt-oss   experts with biases; attention sinks, every other layer with a window, YaRN
 *
 * `llama` with experts is Mixtral.
 *
 * llama.cpp has no OPT, and no Persimmon any more (its pull request 7408): those run from their checkpoints.
 */
import {
  type AttentionGeometry,
  equalLayers,
  type FfnGeometry,
  type LayerGeometry,
  type LayerNorms,
  type ModelGeometry,
  type NormGeometry,
  normsAround,
  normsBefore,
  type RotaryGeometry,
  type RotaryScaling,
  UnsupportedError,
} from "@flashwick/core";
import { MAX_CONTEXT, MAX_LAYERS, MAX_TOKEN_ID, MAX_WIDTH } from "../geometry-limits.js";
import type { GgufMetadata } from "../gguf-metadata.js";
import { ArchitectureFields } from "./architecture-fields.js";
import { architectureOf, expertsOf, type ModelExperts } from "./experts-geometry.js";
import { LLAMA_CPP_ARCHITECTURES, type LlamaCppArchitecture, type WindowForm } from "./forms.js";
import { FUSED, SECOND_NORM } from "./tensor-places.js";

/** What the tensors of a file say. */
export interface TensorFacts {
  /** Rows of `token_embd.weight`. */
  readonly vocabSize: number;
  has(name: string): boolean;
  /** f32 `[dims / 2]` of `rope_freqs.weight`: divisors of the rotary frequencies; null where there is none. */
  readonly rotaryFactors: readonly number[] | null;
}

const DEFAULT_THETA = 10000;

/**
 * @throws {UnsupportedError} `UNSUPPORTED_ARCHITECTURE` naming what runs, `UNSUPPORTED_FEATURE` for choices of experts and scalings that do not.
 *   {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID` naming the key.
 */
export function llamaCppGeometry(metadata: GgufMetadata, tensors: TensorFacts): ModelGeometry {
  const architecture = checkArchitecture(metadata);
  const fields = new ArchitectureFields(metadata, architecture);
  const nLayers = fields.integer("block_count", MAX_LAYERS);
  const dModel = fields.integer("embedding_length", MAX_WIDTH);
  const contextLength = fields.integer("context_length", MAX_CONTEXT);
  const norm = normOf(fields);
  const experts = expertsOf(fields);
  return {
    architecture: architectureOf(fields, experts),
    dModel,
    vocabSize: tensors.vocabSize,
    contextLength,
    embedding: { dim: dModel, scale: embeddingScale(architecture, dModel), positions: null },
    layers: layersOf(fields, tensors, { nLayers, dModel, contextLength, norm, experts }),
    finalNorm: norm,
    head: { tied: !tensors.has("output.weight"), bias: tensors.has("output.bias") },
    bosTokenId: metadata.optionalInteger("tokenizer.ggml.bos_token_id", 0, MAX_TOKEN_ID),
    eosTokenId: metadata.optionalInteger("tokenizer.ggml.eos_token_id", 0, MAX_TOKEN_ID),
  };
}

function checkArchitecture(metadata: GgufMetadata): LlamaCppArchitecture {
  const found = metadata.string("general.architecture");
  const known = LLAMA_CPP_ARCHITECTURES.find((name) => name === found);
  if (known === undefined) {
    throw new UnsupportedError(
      "UNSUPPORTED_ARCHITECTURE",
      `${metadata.fileName}: architecture ${JSON.stringify(found.slice(0, 80))}, expected one of ${LLAMA_CPP_ARCHITECTURES.join(", ")}; a checkpoint of another family may run after "flashwick convert"`,
      { details: { architecture: found.slice(0, 80), supported: [...LLAMA_CPP_ARCHITECTURES] } },
    );
  }
  return known;
}

/** A buffer of f32 in the models that scale. */
function embeddingScale(architecture: LlamaCppArchitecture, dModel: number): number {
  return architecture === "gemma3" ? Math.fround(Math.sqrt(dModel)) : 1;
}

function normOf(fields: ArchitectureFields): NormGeometry {
  const kind = fields.form.norm;
  return { kind, epsilon: fields.epsilon(kind), weight: true, bias: kind === "layer" };
}

interface ModelSizes {
  readonly nLayers: number;
  readonly dModel: number;
  readonly contextLength: number;
  readonly norm: NormGeometry;
  readonly experts: ModelExperts | null;
}

function layersOf(fields: ArchitectureFields, tensors: TensorFacts, sizes: ModelSizes): readonly LayerGeometry[] {
  const { nLayers, norm, experts } = sizes;
  const { windows } = fields.form;
  const attention = attentionOf(fields, tensors, sizes);
  const layer: LayerGeometry = {
    attention,
    ffn: ffnOf(fields, tensors, experts),
    ...(experts ? { experts: experts.geometry } : {}),
    norms: normsOf(fields, tensors, norm),
    parallel: fields.form.parallel,
  };
  if (!windows) return equalLayers(nLayers, layer);
  const local: LayerGeometry = { ...layer, attention: localAttention(fields, windows, attention) };
  const period = fields.optionalInteger("attention.sliding_window_pattern", MAX_LAYERS) ?? windows.period;
  return Array.from({ length: nLayers }, (_, i) => (period > 0 && (i + 1) % period === 0 ? layer : local));
}

/** A parallel block has one norm, but Falcon 40B. */
function normsOf({ architecture, form }: ArchitectureFields, tensors: TensorFacts, norm: NormGeometry): LayerNorms {
  if (architecture === "gemma3") return normsAround(norm);
  const isOne = form.parallel && !tensors.has(`blk.0.${SECOND_NORM}.weight`);
  return normsBefore(norm, isOne ? null : norm);
}

/** Layers with a window may turn by a base of their own, and without scaling (Gemma 3). */
function localAttention(
  fields: ArchitectureFields,
  { theta, scaled }: WindowForm,
  attention: AttentionGeometry,
): AttentionGeometry {
  const rotary = attention.rotary!;
  return {
    ...attention,
    windowTokens: fields.integer("attention.sliding_window", MAX_CONTEXT),
    rotary: {
      ...rotary,
      theta: fields.optionalNumber("rope.freq_base_swa") ?? theta ?? rotary.theta,
      scaling: scaled ? rotary.scaling : null,
    },
  };
}

function attentionOf(
  fields: ArchitectureFields,
  tensors: TensorFacts,
  { dModel, contextLength, norm }: ModelSizes,
): AttentionGeometry {
  const nHeads = fields.integer("attention.head_count", MAX_WIDTH);
  const nKvHeads = fields.optionalInteger("attention.head_count_kv", MAX_WIDTH) ?? nHeads;
  if (nKvHeads === 0 || nHeads % nKvHeads !== 0) {
    throw fields.invalid("attention.head_count_kv", `a divisor of ${nHeads}`, nKvHeads);
  }
  const rotaryDims = fields.optionalInteger("rope.dimension_count", MAX_WIDTH);
  const headDim = fields.optionalInteger("attention.key_length", MAX_WIDTH) ?? dModel / nHeads;
  checkHeadDim(fields, nHeads, headDim);
  const has = (name: string) => tensors.has(`blk.0.${name}`);
  const isFused = has(`${FUSED}.weight`);
  const hasBias = (name: string) => has(`${isFused ? FUSED : name}.bias`);
  return {
    ...{ nHeads, nKvHeads, headDim, alibi: false, windowTokens: null },
    scale: 1 / Math.sqrt(headDim),
    biases: {
      query: hasBias("attn_q"),
      key: hasBias("attn_k"),
      value: hasBias("attn_v"),
      output: has("attn_output.bias"),
    },
    queryKeyNorm: has("attn_q_norm.weight") ? { norm, over: fields.form.queryKeyNorm } : null,
    rotary: rotaryOf(fields, tensors, { dims: rotaryDims ?? headDim, headDim, contextLength }),
    ...(fields.form.sinks ? { sinks: true } : {}),
  };
}

function checkHeadDim(fields: ArchitectureFields, nHeads: number, headDim: number): void {
  const values = fields.optionalInteger("attention.value_length", MAX_WIDTH) ?? headDim;
  if (values !== headDim) throw fields.invalid("attention.value_length", `key_length, ${headDim}`, values);
  if (!Number.isInteger(headDim) || headDim < 1 || nHeads * headDim > MAX_WIDTH) {
    throw fields.invalid("attention.head_count", `heads of a whole width, at most ${MAX_WIDTH} together`, nHeads);
  }
}

function rotaryOf(
  fields: ArchitectureFields,
  { rotaryFactors }: TensorFacts,
  { dims, headDim, contextLength }: { readonly dims: number; readonly headDim: number; readonly contextLength: number },
): RotaryGeometry {
  if (dims % 2 !== 0 || dims === 0 || dims > headDim) {
    throw fields.invalid("rope.dimension_count", `an even number from 2 to ${headDim}`, dims);
  }
  const scaling: RotaryScaling | null = rotaryFactors
    ? { kind: "factors", factors: rotaryFactors }
    : scalingOf(fields, contextLength);
  return {
    theta: fields.optionalNumber("rope.freq_base") ?? DEFAULT_THETA,
    dims,
    pairs: fields.form.pairs,
    scaling,
  };
}

function scalingOf(fields: ArchitectureFields, contextLength: number): RotaryScaling | null {
  const kind = fields.optionalString("rope.scaling.type") ?? "none";
  if (kind === "none") return null;
  const factor = fields.optionalNumber("rope.scaling.factor") ?? 1;
  if (kind === "linear") return factor === 1 ? null : { kind, factor };
  if (kind === "yarn") return yarnOf(fields, factor, contextLength);
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${fields.metadata.fileName}: rope.scaling.type ${JSON.stringify(kind.slice(0, 40))}, expected none, linear or yarn`,
    { details: { scaling: kind.slice(0, 40) } },
  );
}

/**
 * Beta 32 and 1 unless the file says otherwise, magnitude 0.1 · ln(factor) + 1. llama.cpp widens the blended range to whole dimensions in every model;
 * gpt-oss was trained without that (transformers, `truncate: false`).
 */
function yarnOf(fields: ArchitectureFields, factor: number, contextLength: number): RotaryScaling {
  return {
    kind: "yarn",
    factor,
    originalContext: fields.optionalInteger("rope.scaling.original_context_length", MAX_CONTEXT) ?? contextLength,
    betaFast: fields.optionalNumber("rope.scaling.yarn_beta_fast") ?? 32,
    betaSlow: fields.optionalNumber("rope.scaling.yarn_beta_slow") ?? 1,
    attentionFactor: 0.1 * Math.log(factor) + 1,
    truncate: fields.form.architecture !== "gpt-oss",
  };
}

function ffnOf(fields: ArchitectureFields, tensors: TensorFacts, experts: ModelExperts | null): FfnGeometry {
  const { gated, activation } = fields.form;
  const hasBias = (role: string) => experts?.form.biases ?? tensors.has(`blk.0.ffn_${role}.bias`);
  return {
    dFf: experts?.dFf ?? fields.integer("feed_forward_length", MAX_WIDTH),
    ...{ gated, activation, threshold: 0, upActivation: "none" },
    biases: { gate: gated && hasBias("gate"), up: hasBias("up"), down: hasBias("down") },
  };
}
