/**
 * What a model is, apart from its weights. A family (OPT, Falcon) is a description in these terms, not an engine.
 * The glossary (docs/glossary.md) maps each checkpoint family's own names to these.
 */
import type { RecordDType } from "./dtype.js";

export type Architecture = "opt" | "falcon";
export type Activation = "relu" | "gelu";
/** How positions enter: a learned row added to the embedding, queries and keys rotated, or a bias on attention's scores. */
export type PositionEncoding = "learned" | "rotary" | "alibi";

export interface ModelGeometry {
  readonly architecture: Architecture;
  readonly nLayers: number;
  /** Width of the residual stream. */
  readonly dModel: number;
  /** FFN neurons per layer. */
  readonly dFf: number;
  readonly nHeads: number;
  /** Key/value heads: `nHeads` for OPT, fewer for multi-query and grouped-query attention. */
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  /** Longest sequence the position encoding admits, in tokens. */
  readonly contextLength: number;
  /** Width of the token embedding: `dModel`, or smaller with projections in and out (OPT-350M). */
  readonly embeddingDim: number;
  readonly activation: Activation;
  /** Layer norm before attention and FFN (true), or after each residual add (OPT-350M). */
  readonly normBefore: boolean;
  /** A last layer norm before the head. */
  readonly finalNorm: boolean;
  /** Layer norms have weight and bias. */
  readonly normAffine: boolean;
  readonly normEpsilon: number;
  /** Linear layers have biases. */
  readonly biases: boolean;
  /** The head is the token embedding. */
  readonly tiedHead: boolean;
  readonly positions: PositionEncoding;
  /** Base of the rotary frequencies; null where nothing is rotated. */
  readonly ropeTheta: number | null;
  /** Attention and FFN read the same input, and both are added to it (Falcon); false: the FFN reads what attention has changed. */
  readonly parallelBlock: boolean;
  /** The FFN has a layer norm of its own; false: it reads what attention's norm gives (Falcon 7B). */
  readonly ffnNorm: boolean;
  /** Row of the position table that belongs to position 0 (2 for OPT); 0 without a table. */
  readonly positionOffset: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
}

/** How the weights of a model file are stored; everything that sizes depend on, beside the geometry. */
export interface WeightLayout {
  readonly dtype: RecordDType;
  /** `bundled`: up row and down column in one record. `split`: two records, for measuring what bundling buys. */
  readonly layout: "bundled" | "split";
  /** Bytes from one record to the next; in `split` layout, of each of the two halves. Multiple of 512. */
  readonly strideBytes: number;
  /** Byte offset of the down column inside a neuron's slot: inside the record, or `strideBytes` when split. */
  readonly downOffsetBytes: number;
  /** Byte offset of the two f32 scales (up, down) inside a slot; int8 only, else null. */
  readonly scalesOffsetBytes: number | null;
  /** Bytes of a neuron in DRAM: `strideBytes`, or twice that when split. */
  readonly slotBytes: number;
}

/** Elements of a padded activation vector: kernels read whole groups of 16 and count on zeros beyond the end. */
export function paddedLength(elements: number): number {
  return (elements + 15) & ~15;
}

/** Bytes of all FFN records as they lie on flash. */
export function ffnBytes(geometry: ModelGeometry, layout: WeightLayout): number {
  return geometry.nLayers * geometry.dFf * layout.slotBytes;
}
