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

export interface ModelShape {
  readonly name: string;
  readonly nLayers: number;
  readonly dModel: number;
  readonly dFf: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly dtype: DType;
  /** Attention's matrices of one layer. */
  readonly attentionBytes: number;
  /** The matrix that gives logits, tied to the embedding or not. */
  readonly headBytes: number;
  /** Tables of which a token reads one row. */
  readonly rowTableBytes: number;
  /** A neuron's weights: up row, down column (and gate row). */
  readonly recordBytes: number;
  /** Bytes of one read: the whole record with its padding, or one of `readsPerNeuron` parts. */
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

/** Weights that a dense pass multiplies with, bytes: attention, FFN and head. */
export function denseBytes(shape: ModelShape): number {
  return shape.nLayers * (shape.attentionBytes + shape.dFf * shape.recordBytes) + shape.headBytes;
}
