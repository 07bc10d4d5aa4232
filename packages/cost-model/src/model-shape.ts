/**
 * A model as the cost model sees it: bytes by what is done with them. Made from an opened file, a config.json or a published
 * geometry; nothing here needs the weights.
 */
import type { DType } from "@flashwick/core";
import {
  bytesOf,
  expertsFlashBytes,
  type MixtureLayer,
  type MixtureShape,
  residentFfnBytes,
  type TypedBytes,
} from "./mixture-shape.js";
import type { MatrixRows } from "./stream-reads.js";

/** The predictors of a model, as their price depends on them. */
export interface PredictorShape {
  /** Types of each layer's weights, by bytes: the shares of a layer add up to 1. */
  readonly typesByLayer: readonly (readonly TypeShare[])[];
  /** Weights of each layer's predictor, bytes; 0 where a layer has none and names everything. */
  readonly bytesByLayer: readonly number[];
}

/** What part of some bytes has a type. */
export interface TypeShare {
  readonly dtype: DType;
  readonly share: number;
}

/** How weights stream that lie in matrices, row by row: a layer as a whole or not at all, attention's matrices with the FFN's, read ahead for every pass. */
export interface RowStream {
  /** Bytes that the memory plan counts for a neuron: what a chunk has room for. */
  readonly bytesPerNeuron: number;
  /** Whether there are checksums to hold rows against. */
  readonly isChecked: boolean;
  /** By layer: neurons, with all of which it is resident, and matrices in the order in which they are used. */
  readonly layers: readonly { readonly neurons: number; readonly matrices: readonly MatrixRows[] }[];
}

/** A model, as its price depends on it. */
export interface ModelShape {
  readonly name: string;
  readonly nLayers: number;
  readonly dModel: number;
  readonly dFf: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  /** The type of most of the weights. */
  readonly dtype: DType;
  /** Types of attention's matrices, by bytes: the shares add up to 1. What stays in DRAM need not have the records' type. */
  readonly attentionTypes: readonly TypeShare[];
  /** Types of the FFN's weights, likewise; none of a mixture, whose layers speak for themselves. */
  readonly ffnTypes: readonly TypeShare[];
  readonly headDtype: DType;
  /** Null where weights are records, whose neurons stream. */
  readonly rowStream: RowStream | null;
  /** Attention's matrices of one layer, on average. */
  readonly attentionBytes: number;
  /** The matrix that gives logits, tied to the embedding or not. */
  readonly headBytes: number;
  /** Tables of which a token reads one row. */
  readonly rowTableBytes: number;
  /** A neuron's weights: up row, down column (and gate row, unless it is resident); on average where layers differ. */
  readonly recordBytes: number;
  /** Bytes of one read: the whole record with its padding, or one of `readsPerNeuron` parts; of matrices, a neuron's part of its layer. */
  readonly strideBytes: number;
  readonly readsPerNeuron: number;
  /** Attention and FFN read the same input, so that reads fly during attention. */
  readonly parallelBlock: boolean;
  readonly predictor: PredictorShape | null;
  /** Of one layer's gates, which every pass multiplies whole, where neurons' records have none; absent elsewhere. */
  readonly gate?: TypedBytes;
  /** A mixture of experts, and what its layers have beside attention. What is said above of a neuron then is said of an expert, the mean of all. */
  readonly mixture?: MixtureShape;
}

/** Bytes of all FFN records, or experts, as they lie on flash. */
export function ffnFlashBytes(shape: ModelShape): number {
  if (shape.mixture) return expertsFlashBytes(shape.mixture);
  return shape.nLayers * shape.dFf * shape.strideBytes * shape.readsPerNeuron;
}

/** Weights that a dense pass multiplies with, part by part: the same type may come more than once. The bytes add up to {@link denseBytes}. */
export function denseBytesByType(shape: ModelShape): TypedBytes[] {
  const { nLayers, attentionTypes, ffnTypes } = shape;
  const typed = (bytes: number) => (of: TypeShare) => ({ dtype: of.dtype, bytes: of.share * bytes });
  return [
    ...attentionTypes.map(typed(nLayers * shape.attentionBytes)),
    ...(shape.mixture
      ? shape.mixture.layers.flatMap(mixtureLayerBytes)
      : ffnTypes.map(typed(nLayers * shape.dFf * shape.recordBytes))),
    ...(shape.gate ? [{ dtype: shape.gate.dtype, bytes: gateBytes(shape) }] : []),
    { dtype: shape.headDtype, bytes: shape.headBytes },
  ];
}

function mixtureLayerBytes({ experts, resident }: MixtureLayer): TypedBytes[] {
  if (experts === null) return [...resident];
  const { count, router, weights } = experts;
  return [...resident, router, ...weights.map(({ dtype, bytes }) => ({ dtype, bytes: count * bytes }))];
}

/** Weights that a dense pass multiplies with, bytes: attention, FFN and head. Of a mixture, those of all experts. */
export function denseBytes(shape: ModelShape): number {
  if (shape.mixture) {
    const { layers } = shape.mixture;
    const experts = layers.reduce((sum, { experts: of }) => sum + (of ? of.count * bytesOf(of.weights) : 0), 0);
    return shape.nLayers * shape.attentionBytes + residentFfnBytes(shape.mixture) + experts + shape.headBytes;
  }
  return shape.nLayers * (shape.attentionBytes + shape.dFf * shape.recordBytes) + gateBytes(shape) + shape.headBytes;
}

/** Resident gates of all layers; 0 where records have them, or neurons have none. */
export function gateBytes({ nLayers, gate }: Pick<ModelShape, "nLayers" | "gate">): number {
  return nLayers * (gate?.bytes ?? 0);
}
