/**
 * A model as the cost model sees it: bytes by what is done with them. Made from an opened file, a config.json or a published
 * geometry; nothing here needs the weights.
 */
import type { DType } from "@flashwick/core";

export interface PredictorShape {
  readonly dtype: DType;
  /** Weights of each layer's predictor, bytes; 0 where a layer has none and names everything. */
  readonly bytesByLayer: readonly number[];
}

/** What part of some bytes has a type. */
export interface TypeShare {
  readonly dtype: DType;
  readonly share: number;
}

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
  /** Types of the FFN's weights, likewise. */
  readonly ffnTypes: readonly TypeShare[];
  readonly headDtype: DType;
  /** `layers`: matrices, of which a layer's are all resident or all streamed, attention's too, and read ahead for every pass. */
  readonly streams: "neurons" | "layers";
  /** Attention's matrices of one layer, on average. */
  readonly attentionBytes: number;
  /** The matrix that gives logits, tied to the embedding or not. */
  readonly headBytes: number;
  /** Tables of which a token reads one row. */
  readonly rowTableBytes: number;
  /** A neuron's weights: up row, down column (and gate row); on average where layers differ. */
  readonly recordBytes: number;
  /** Where layers stream, bytes of a matrix, on average: no read goes beyond one. Absent where records do. */
  readonly matrixBytes?: number;
  /** Bytes of one read: the whole record with its padding, or one of `readsPerNeuron` parts; of matrices, a neuron's part of its layer. */
  readonly strideBytes: number;
  readonly readsPerNeuron: number;
  /** Attention and FFN read the same input, so that reads fly during attention. */
  readonly parallelBlock: boolean;
  readonly predictor: PredictorShape | null;
}

/** Bytes of all FFN records as they lie on flash. */
export function ffnFlashBytes(shape: ModelShape): number {
  return shape.nLayers * shape.dFf * shape.strideBytes * shape.readsPerNeuron;
}

/** Weights of one type. */
export interface TypedBytes {
  readonly dtype: DType;
  readonly bytes: number;
}

/** Weights that a dense pass multiplies with, part by part: the same type may come more than once. The bytes add up to {@link denseBytes}. */
export function denseBytesByType(shape: ModelShape): TypedBytes[] {
  const { nLayers, attentionTypes, ffnTypes } = shape;
  const typed = (bytes: number) => (of: TypeShare) => ({ dtype: of.dtype, bytes: of.share * bytes });
  return [
    ...attentionTypes.map(typed(nLayers * shape.attentionBytes)),
    ...ffnTypes.map(typed(nLayers * shape.dFf * shape.recordBytes)),
    { dtype: shape.headDtype, bytes: shape.headBytes },
  ];
}

/** Weights that a dense pass multiplies with, bytes: attention, FFN and head. */
export function denseBytes(shape: ModelShape): number {
  return shape.nLayers * (shape.attentionBytes + shape.dFf * shape.recordBytes) + shape.headBytes;
}
