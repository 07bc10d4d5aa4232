/**
 * A model as the cost model sees it: bytes by what is done with them. Made from an opened file, a config.json or a published
 * geometry; nothing here needs the weights.
 */
import type { DType } from "@flashwick/core";
import { bytesOf, expertsFlashBytes, type MixtureShape, residentFfnBytes } from "./mixture-shape.js";

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
  /** Types of the layers' weights, by bytes: the shares add up to 1. */
  readonly layerTypes: readonly TypeShare[];
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
  /** A mixture of experts, and what its layers have beside attention. What is said above of a neuron then is said of an expert, the mean of all. */
  readonly mixture?: MixtureShape;
}

/** Bytes of all FFN records, or experts, as they lie on flash. */
export function ffnFlashBytes(shape: ModelShape): number {
  if (shape.mixture) return expertsFlashBytes(shape.mixture);
  return shape.nLayers * shape.dFf * shape.strideBytes * shape.readsPerNeuron;
}

/** Weights that a dense pass multiplies with, bytes: attention, FFN and head. Of a mixture, those of all experts. */
export function denseBytes(shape: ModelShape): number {
  if (shape.mixture) {
    const { layers } = shape.mixture;
    const experts = layers.reduce((sum, { experts: of }) => sum + (of ? of.count * bytesOf(of.weights) : 0), 0);
    return shape.nLayers * shape.attentionBytes + residentFfnBytes(shape.mixture) + experts + shape.headBytes;
  }
  return shape.nLayers * (shape.attentionBytes + shape.dFf * shape.recordBytes) + shape.headBytes;
}
