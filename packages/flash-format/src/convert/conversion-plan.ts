/**
 * What conversion will read, decided before a weight is touched: every tensor of the model file with the checkpoint tensor, the
 * rows and the bytes it comes from. Pure. A checkpoint that cannot be converted fails here, in milliseconds.
 */
import { assert, hasExperts, type ModelGeometry, rowBytes } from "@flashwick/core";
import type { TensorShape } from "../model-writer.js";
import { residentTensorsOf } from "../resident-tensors.js";
import type { ReadableTensor } from "./checkpoint-tensor.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import { type PlannedExperts, planExperts } from "./expert-plan.js";
import type { FfnSource, RowRange, WeightNames, WeightSource } from "./families/family.js";
import { findTensor } from "./find-tensor.js";

/** A resident tensor: rows of a checkpoint tensor, in order; of a vector, its elements. */
export interface PlannedTensor {
  readonly name: string;
  readonly tensor: ReadableTensor;
  readonly cols: number;
  readonly isVector: boolean;
  readonly rows: readonly RowRange[];
  /** Of each stored row, which elements are taken. */
  readonly columns: { readonly first: number; readonly step: number };
  /** Added to every element. */
  readonly plus: number;
  readonly sizeBytes: number;
}

/** The neurons of a layer. */
export interface PlannedLayer {
  /** `blk.<layer>.ffn` */
  readonly name: string;
  readonly layer: number;
  /** `[dFf, dModel]`; of gated neurons only. */
  readonly gate: ReadableTensor | null;
  /** `[dFf, dModel]` */
  readonly up: ReadableTensor;
  /** `[dModel, dFf]` */
  readonly down: ReadableTensor;
  readonly sizeBytes: number;
}

export interface ConversionPlan {
  readonly tensors: readonly PlannedTensor[];
  /** None in a mixture. */
  readonly layers: readonly PlannedLayer[];
  /** Of the layers that are mixtures. */
  readonly experts: readonly PlannedExperts[];
  /** Stored bytes of everything above. */
  readonly totalBytes: number;
}

/**
 * Plans a conversion.
 *
 * @param geometry The checkpoint's, with all neurons.
 * @throws {FormatError} `CHECKPOINT_TENSOR_MISSING`, `CHECKPOINT_TENSOR_SHAPE`, naming file, tensor, expected and found shape.
 * {UnsupportedError} `UNSUPPORTED_FEATURE` for element types and strides that are not read.
 */
export function planConversion(
  names: WeightNames,
  geometry: ModelGeometry,
  weights: CheckpointWeights,
): ConversionPlan {
  const tensors = residentTensorsOf(geometry).map((shape) => planTensor(shape, names.resident(shape), weights));
  const dense = hasExperts(geometry) ? [] : geometry.layers;
  const layers = dense.map((_, layer) => planLayer(names.ffn(layer), layer, weights));
  const experts = geometry.layers.flatMap((layer, index) => {
    return layer.experts ? [planExperts(geometry, index, names.expertForms(index), weights)] : [];
  });
  const totalBytes = [...tensors, ...layers, ...experts].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return { tensors, layers, experts, totalBytes };
}

function planTensor(shape: TensorShape, source: WeightSource, weights: CheckpointWeights): PlannedTensor {
  const tensor = findTensor(source, weights);
  const isVector = source.shape.length === 1;
  const rows = source.rows ?? [{ first: 0, count: source.shape[0]! }];
  const taken = rows.reduce((sum, range) => sum + range.count, 0);
  const storedCols = isVector ? taken : source.shape.at(-1)!;
  const columns = source.columns ?? { first: 0, step: 1 };
  const cols = storedCols / columns.step;
  assert(cols === shape.cols && (isVector ? 1 : taken) === shape.rows, `the family gives ${shape.name} its own shape`);
  const sizeBytes = shape.rows * rowBytes(tensor.dtype, storedCols);
  return { name: shape.name, tensor, cols, isVector, rows, columns, plus: source.plus ?? 0, sizeBytes };
}

function planLayer(source: FfnSource, layer: number, weights: CheckpointWeights): PlannedLayer {
  const gate = source.gate && findTensor(source.gate, weights);
  const up = findTensor(source.up, weights);
  const down = findTensor(source.down, weights);
  const sizeBytes = [gate, up, down].reduce((sum, part) => sum + (part ? matrixBytes(part) : 0), 0);
  return { name: `blk.${layer}.ffn`, layer, gate, up, down, sizeBytes };
}

/** Of a matrix as it is stored. */
export function matrixBytes({ shape, dtype }: ReadableTensor): number {
  return shape[0]! * rowBytes(dtype, shape[1]!);
}
