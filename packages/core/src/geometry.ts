/**
 * What a model is, apart from its weights: a composition of norms, attention, positions and FFN, layer by layer. A family (OPT, Falcon) is a
 * table that leads here, not an engine. The glossary (docs/glossary.md) maps each checkpoint family's own names to these.
 *
 * One layer on the residual stream h; a norm that is null is the identity:
 *
 *     sequential   h = attentionSum(h + afterAttention(attention(beforeAttention(h))))
 *                  h = ffnSum(h + afterFfn(ffn(beforeFfn(h))))
 *     parallel     x = beforeAttention(h)
 *                  h = h + afterAttention(attention(x)) + afterFfn(ffn(beforeFfn ? beforeFfn(h) : x))
 */
import { type Activation, type ActivationFunction, leavesZeros } from "./activation.js";
import { assert } from "./assert.js";
import type { DType, RecordDType } from "./dtype.js";
import { UnsupportedError } from "./errors.js";

/** The families that are known, by the name that a file gives them. */
export type Architecture =
  | "opt"
  | "falcon"
  | "llama"
  | "mistral"
  | "bamboo"
  | "qwen2"
  | "qwen3"
  | "gemma3"
  | "phi"
  | "persimmon"
  | "mixtral"
  | "olmoe"
  | "qwen2moe"
  | "qwen3moe"
  | "gpt-oss";

/**
 * A norm of rows of n elements:
 *
 *     layer   (x − mean(x)) / √(var(x) + epsilon) · weight + bias
 *     rms     x / √(mean(x²) + epsilon) · weight
 *
 * Weights are stored as they are multiplied: what a family adds to them (Gemma's 1) is added on conversion.
 */
export interface NormGeometry {
  readonly kind: "layer" | "rms";
  readonly epsilon: number;
  /** f32 `[n]`; false: 1. */
  readonly weight: boolean;
  /** f32 `[n]`; false: 0. */
  readonly bias: boolean;
}

/** How rotary frequencies are stretched for texts longer than those of training. `packages/runtime/src/position-tables.ts` has the formulas. */
export type RotaryScaling =
  /** Every frequency ÷ factor. */
  | { readonly kind: "linear"; readonly factor: number }
  /** Llama 3: slow frequencies ÷ factor, fast ones as they are, those between blended. */
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      /** Tokens of context that the model was trained with. */
      readonly originalContext: number;
    }
  /** YaRN (Peng et al., 2023): the same idea, blended by dimension; cosines and sines are multiplied by `attentionFactor`. */
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly originalContext: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly attentionFactor: number;
      /** The blended range is widened to whole dimensions. */
      readonly truncate: boolean;
    }
  /** A divisor of its own for each frequency, `[dims / 2]`. */
  | { readonly kind: "factors"; readonly factors: readonly number[] };

/** Queries and keys are turned by angles position · theta^(−2i / dims), before scaling. */
export interface RotaryGeometry {
  readonly theta: number;
  /** Elements of a head that are turned, from its front; even, and at most `headDim`. The others pass. */
  readonly dims: number;
  /** Which two elements pair i is: `halves` i and i + dims / 2, `neighbours` 2i and 2i + 1. */
  readonly pairs: "halves" | "neighbours";
  readonly scaling: RotaryScaling | null;
}

/** Attention of one layer: heads, positions, windows. */
export interface AttentionGeometry {
  readonly nHeads: number;
  /** Heads of keys and values, each for `nHeads / nKvHeads` queries: `nHeads` for multi-head, 1 for multi-query attention. */
  readonly nKvHeads: number;
  /** Width of a head. `nHeads · headDim` need not be `dModel`. */
  readonly headDim: number;
  /** Scores are multiplied by this before the softmax; 1/√headDim in most models. */
  readonly scale: number;
  readonly biases: {
    readonly query: boolean;
    readonly key: boolean;
    readonly value: boolean;
    readonly output: boolean;
  };
  /** A norm of queries and keys before they are turned: of each head by itself, or of the whole projection. */
  readonly queryKeyNorm: { readonly norm: NormGeometry; readonly over: "head" | "width" } | null;
  /** Null: nothing is turned. */
  readonly rotary: RotaryGeometry | null;
  /** A bias on scores, by distance (ALiBi). */
  readonly alibi: boolean;
  /** A position sees so many keys, itself among them; null: all before it. */
  readonly windowTokens: number | null;
  /** Each head has a score of its own that takes its share of the softmax and has no value (gpt-oss). Absent: false. */
  readonly sinks?: boolean;
}

/**
 *     plain   down · activation(up · x)
 *     gated   down · (activation(gate · x) ⊙ upActivation(up · x))
 *
 * biases where there are any. A neuron is row i of gate and up, and column i of down.
 */
export interface FfnGeometry {
  /** Neurons. */
  readonly dFf: number;
  readonly gated: boolean;
  /** Of the gate; of up where there is none. `swiglu-clamped` needs a gate, and `upActivation` `none`. */
  readonly activation: Activation;
  /** Of `fatrelu`; 0 for every other activation. */
  readonly threshold: number;
  /** Of up beside a gate; `relu` in dReLU. */
  readonly upActivation: "none" | "relu";
  readonly biases: { readonly gate: boolean; readonly up: boolean; readonly down: boolean };
}

/**
 * A mixture of experts: the layer's FFN is many of one form, of which a router names a few for each token.
 *
 *     z = W x + b                                        one logit an expert
 *     S = the `chosen` experts with the largest z        a tie falls on the lower number
 *     out = Σ_{e ∈ S} w_e · ffn_e(x), ascending e        + the shared expert, which every token uses
 */
export interface ExpertsGeometry {
  readonly count: number;
  /** At least 1, at most `count`. */
  readonly chosen: number;
  readonly router: {
    /** What the weights w are the softmax of: of all logits, or of those in S only (gpt-oss). */
    readonly softmax: "all" | "chosen";
    /** w is divided by its sum over S (Mixtral, Qwen3). */
    readonly normalised: boolean;
    readonly bias: boolean;
  };
  /** Null: none. Its form is the experts'. */
  readonly shared: {
    readonly dFf: number;
    /** Its output is multiplied by σ(g · x) (Qwen1.5). */
    readonly gated: boolean;
  } | null;
}

/** The places of norms in a layer; null where there is none. */
export interface LayerNorms {
  /** Of attention's input. */
  readonly beforeAttention: NormGeometry | null;
  /** Of what attention adds to the residual stream (Gemma 3). */
  readonly afterAttention: NormGeometry | null;
  /** Of the residual stream after attention was added (OPT-350M). */
  readonly attentionSum: NormGeometry | null;
  /** Of the FFN's input. In a parallel block null: the FFN reads what `beforeAttention` gives (Falcon 7B). */
  readonly beforeFfn: NormGeometry | null;
  /** As `afterAttention`, of the FFN. */
  readonly afterFfn: NormGeometry | null;
  /** As `attentionSum`, of the FFN. */
  readonly ffnSum: NormGeometry | null;
}

/** What one layer computes. */
export interface LayerGeometry {
  readonly attention: AttentionGeometry;
  /** In a mixture of experts the FFN of one expert, whose biases are each expert's own. */
  readonly ffn: FfnGeometry;
  /** Absent where the layer has one FFN. */
  readonly experts?: ExpertsGeometry;
  readonly norms: LayerNorms;
  /** Attention and FFN read the same residual stream, and both are added to it (Falcon); false: the FFN reads what attention has changed. */
  readonly parallel: boolean;
}

/** What a model computes, apart from its weights. */
export interface ModelGeometry {
  readonly architecture: Architecture;
  /** Width of the residual stream. */
  readonly dModel: number;
  readonly vocabSize: number;
  /** Longest sequence the position encoding admits, in tokens. */
  readonly contextLength: number;
  readonly embedding: {
    /** `dModel`, or smaller with projections in and out (OPT-350M). */
    readonly dim: number;
    /** Embeddings are multiplied by this (√dModel in Gemma). */
    readonly scale: number;
    /** A table of learned positions that are added; position 0 is row `offset` of it (2 in OPT). */
    readonly positions: { readonly offset: number } | null;
  };
  /** At least one. Equal layers are one object. */
  readonly layers: readonly LayerGeometry[];
  /** A last norm before the head. */
  readonly finalNorm: NormGeometry | null;
  readonly head: {
    /** The head is the token embedding. */
    readonly tied: boolean;
    readonly bias: boolean;
  };
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
}

/** Attention with biases everywhere, or with none. */
export function attentionBiases(all: boolean): AttentionGeometry["biases"] {
  return { query: all, key: all, value: all, output: all };
}

/** A layer that norms what attention and FFN read, and nothing else: the form of nearly every model. */
export function normsBefore(attention: NormGeometry | null, ffn: NormGeometry | null): LayerNorms {
  return {
    beforeAttention: attention,
    afterAttention: null,
    attentionSum: null,
    beforeFfn: ffn,
    afterFfn: null,
    ffnSum: null,
  };
}

/** A layer that norms what attention and FFN read, and what they add (Gemma 3). */
export function normsAround(norm: NormGeometry): LayerNorms {
  return { ...normsBefore(norm, norm), afterAttention: norm, afterFfn: norm };
}

/** What layers may differ in is sizes, not form: the same places of norms, both parallel or not, both gated or not. */
export function hasSameForm(a: LayerGeometry, b: LayerGeometry): boolean {
  const places = Object.keys(a.norms) as (keyof LayerNorms)[];
  return (
    a.parallel === b.parallel &&
    a.ffn.gated === b.ffn.gated &&
    places.every((place) => (a.norms[place] === null) === (b.norms[place] === null))
  );
}

/** `count` times the same layer. */
export function equalLayers(count: number, layer: LayerGeometry): readonly LayerGeometry[] {
  return new Array<LayerGeometry>(count).fill(layer);
}

/** Elements of a token's queries. */
export function queryWidth({ nHeads, headDim }: AttentionGeometry): number {
  return nHeads * headDim;
}

/** Elements of a token's keys, and of its values. */
export function kvWidth({ nKvHeads, headDim }: AttentionGeometry): number {
  return nKvHeads * headDim;
}

/** What an FFN makes of a neuron's sums, as ops take it. */
export function activationOf({ activation, threshold, upActivation }: FfnGeometry): ActivationFunction {
  return { kind: activation, threshold, up: upActivation };
}

/** Neurons of the widest FFN: of a layer, or of an expert. */
export function widestFfn({ layers }: Pick<ModelGeometry, "layers">): number {
  return Math.max(...layers.map(({ ffn, experts }) => Math.max(ffn.dFf, experts?.shared?.dFf ?? 0)));
}

/** Whether some layer is a mixture of experts. */
export function hasExperts({ layers }: Pick<ModelGeometry, "layers">): boolean {
  return layers.some(({ experts }) => experts !== undefined);
}

/** Whether neurons have gates: in all layers, or in none. */
export function isGated({ layers }: Pick<ModelGeometry, "layers">): boolean {
  return layers[0]!.ffn.gated;
}

/**
 * Whether neurons have gates that are no part of their records: those of a layer then lie in a matrix of its own, which stays in DRAM
 * (docs/decisions/0039).
 */
export function hasResidentGate({
  geometry,
  weights,
}: {
  readonly geometry: Pick<ModelGeometry, "layers">;
  readonly weights: FfnLayout;
}): boolean {
  return "parts" in weights && isGated(geometry) && weights.parts.every(({ role }) => role !== "gate");
}

/** FFN neurons of all layers. */
export function neuronCount({ layers }: Pick<ModelGeometry, "layers">): number {
  return layers.reduce((sum, { ffn }) => sum + ffn.dFf, 0);
}

/**
 * Biases of one neuron, of gate and up, in the layer that has most: they stand in DRAM beside the records.
 *
 * @param residentGate Gates are no part of the records, nor are their biases.
 */
export function neuronBiases({ layers }: Pick<ModelGeometry, "layers">, residentGate = false): number {
  return Math.max(...layers.map(({ ffn }) => Number(ffn.biases.gate && !residentGate) + Number(ffn.biases.up)));
}

/** Whether every layer leaves part of its neurons at exactly zero, so that these can be left out. */
export function isSparse({ layers }: Pick<ModelGeometry, "layers">): boolean {
  return layers.every(({ ffn }) => leavesZeros(ffn.activation));
}

/** A model's neurons as training and plans know them: `nLayers` layers of `dFf` each. */
export interface NeuronGrid {
  readonly nLayers: number;
  readonly dModel: number;
  readonly dFf: number;
}

/** @throws {UnsupportedError} `UNSUPPORTED_FEATURE` where layers differ in `dFf`. */
export function neuronGrid(geometry: {
  readonly dModel: number;
  readonly layers: readonly { readonly ffn: Pick<FfnGeometry, "dFf"> }[];
}): NeuronGrid {
  const { dModel, layers } = geometry;
  const { dFf } = layers[0]!.ffn;
  const other = layers.findIndex(({ ffn }) => ffn.dFf !== dFf);
  if (other < 0) return { nLayers: layers.length, dModel, dFf };
  const found = layers[other]!.ffn.dFf;
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `training, placing and plans need layers with equally many neurons; layer 0 has ${dFf}, layer ${other} ${found}; of a pruned model use the one with all neurons`,
    { details: { layer: other, expected: dFf, found } },
  );
}

/** What a record holds of a neuron: its rows of gate (of gated neurons) and up, and its column of down. */
export type RecordRole = "gate" | "up" | "down";

/** A row or column in a neuron's slot. */
export interface RecordPart {
  readonly role: RecordRole;
  readonly offsetBytes: number;
  /** Of its f32 scale in the slot; int8 only, else null. */
  readonly scaleOffsetBytes: number | null;
}

/**
 * How the FFN's weights lie in a model file of ours: neuron by neuron, in records that are read and kept one by one. With the geometry, everything that
 * sizes depend on.
 */
export interface WeightLayout {
  readonly dtype: RecordDType;
  /** `bundled`: all parts of a neuron in one record. `split`: up row and down column in a record each, for measuring what bundling buys. */
  readonly layout: "bundled" | "split";
  /** Bytes from one record to the next; in `split` layout, of each of the two halves. Multiple of 512. */
  readonly strideBytes: number;
  /** In the order of their places: gate (of gated neurons, unless gates are resident), up, down. Scales stand in the same order without gaps. */
  readonly parts: readonly RecordPart[];
  /** Bytes of a neuron in DRAM: `strideBytes`, or twice that when split. */
  readonly slotBytes: number;
}

/** The two kinds of units of an FFN that is read by columns: elements of its input, and neurons, whose activations meet the down projection. */
export const COLUMN_STAGES = ["inputs", "outputs"] as const;
/** One of {@link COLUMN_STAGES}. */
export type ColumnStage = (typeof COLUMN_STAGES)[number];

/** Records of one kind of column, on flash as in a slot. */
export interface ColumnRecords {
  /** Bytes from one record to the next, and of a slot; a multiple of 512. */
  readonly strideBytes: number;
  /** Elements of each part. */
  readonly width: number;
  /** Columns in the order of their places: gate (of gated neurons) and up of an input, down of a neuron. */
  readonly parts: readonly RecordPart[];
}

/**
 * How the FFN's weights lie in a model file of ours that is read by columns (docs/decisions/0040): what element j of the input is multiplied with, column j of
 * gate beside column j of up, is one record, and what neuron i's activation is multiplied with, column i of down, is another.
 */
export interface ColumnLayout extends Readonly<Record<ColumnStage, ColumnRecords>> {
  readonly layout: "columns";
  readonly dtype: RecordDType;
  /** 1 / dFf of a layer's records of both kinds, rounded up: what plans call a neuron of it. */
  readonly slotBytes: number;
}

/** All weights of a layer matrix by matrix, row by row, as GGUF files of llama.cpp have them: a layer is kept or streamed as a whole. */
export interface MatrixLayout {
  readonly layout: "matrices";
  /** Of the first layer's up projection: matrices may differ. */
  readonly dtype: DType;
  /** 1 / dFf of the matrices of the layer that has most, rounded up: what plans call a neuron of it. */
  readonly slotBytes: number;
}

/** A mixture of experts: an expert is read and kept as a whole, wherever its matrices lie; all other weights are resident. */
export interface ExpertLayout {
  readonly layout: "experts";
  /** Of the first mixture's up projections: matrices may differ. */
  readonly dtype: DType;
  /** Bytes of the largest expert in a slot. */
  readonly slotBytes: number;
}

/** The part of a neuron that has a role. Only `gate` may be missing: ask for it of gated neurons alone. */
export function recordPart({ parts }: Pick<ColumnRecords, "parts">, role: RecordRole): RecordPart {
  const part = parts.find((candidate) => candidate.role === role);
  assert(part !== undefined, `a record has ${role}`);
  return part;
}

/** Elements of a padded activation vector: kernels read whole groups of 16 and count on zeros beyond the end. */
export function paddedLength(elements: number): number {
  return (elements + 15) & ~15;
}

/** How a model's FFNs lie on flash. */
export type FfnLayout = WeightLayout | ColumnLayout | MatrixLayout | ExpertLayout;

/** Units of each kind in a layer that is read by columns. */
export function columnCounts(dModel: number, { ffn }: { readonly ffn: Pick<FfnGeometry, "dFf"> }) {
  return { inputs: dModel, outputs: ffn.dFf } as const satisfies Record<ColumnStage, number>;
}

/** What a layer's cache holds by number: neurons, or in a mixture experts, of which a dense layer has none. */
export function unitsByLayer(geometry: Pick<ModelGeometry, "layers">): number[] {
  const isMixture = hasExperts(geometry);
  return geometry.layers.map(({ ffn, experts }) => experts?.count ?? (isMixture ? 0 : ffn.dFf));
}

/** What {@link unitsByLayer} counts, for people. */
export function unitName(geometry: Pick<ModelGeometry, "layers">): "neuron" | "expert" {
  return hasExperts(geometry) ? "expert" : "neuron";
}

/** What caches hold, neurons or in a mixture experts, as a grid: as many a layer as the layer with most has. */
export function unitGrid(geometry: Pick<ModelGeometry, "dModel" | "layers">): NeuronGrid {
  const units = unitsByLayer(geometry);
  return { nLayers: units.length, dModel: geometry.dModel, dFf: Math.max(...units) };
}

/** Bytes of all FFN records, or experts, as they lie on flash. */
export function ffnBytes(geometry: Pick<ModelGeometry, "layers">, layout: Pick<FfnLayout, "slotBytes">): number {
  return unitsByLayer(geometry).reduce((sum, units) => sum + units, 0) * layout.slotBytes;
}
