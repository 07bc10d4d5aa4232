/**
 * What conversion will read, decided before a weight is touched: every tensor of the model file with the checkpoint tensor, the
 * rows and the bytes it comes from. Pure. A checkpoint that cannot be converted fails here, in milliseconds.
 */
import { assert, FormatError, type ModelGeometry, rowBytes } from "@flashwick/core";
import type { TensorShape } from "../model-writer.js";
import { assertReadable, formatShape, type ReadableTensor } from "./checkpoint-tensor.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import type { FfnSource, RowRange, WeightSource } from "./families/family.js";

/** Where the tensors of a model file come from, in the names of the weights at hand. */
export interface WeightNames {
  resident(tensor: TensorShape): WeightSource;
  ffn(layer: number): FfnSource;
}

/** A resident tensor: rows of a checkpoint tensor, in order; of a vector, its elements. */
export interface PlannedTensor {
  readonly name: string;
  readonly tensor: ReadableTensor;
  readonly cols: number;
  readonly isVector: boolean;
  readonly rows: readonly RowRange[];
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
  readonly layers: readonly PlannedLayer[];
  /** Stored bytes of everything above. */
  readonly totalBytes: number;
}

/**
 * Plans a conversion.
 *
 * @throws {FormatError} `CHECKPOINT_TENSOR_MISSING`, `CHECKPOINT_TENSOR_SHAPE`, naming file, tensor, expected and found shape.
 * {UnsupportedError} `UNSUPPORTED_FEATURE` for element types and strides that are not read.
 */
export function planConversion(
  names: WeightNames,
  { layers: { length } }: ModelGeometry,
  residentTensors: readonly TensorShape[],
  weights: CheckpointWeights,
): ConversionPlan {
  const tensors = residentTensors.map((shape) => planTensor(shape, names.resident(shape), weights));
  const layers = Array.from({ length }, (_, layer) => planLayer(names.ffn(layer), layer, weights));
  const totalBytes = [...tensors, ...layers].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return { tensors, layers, totalBytes };
}

function planTensor(shape: TensorShape, source: WeightSource, weights: CheckpointWeights): PlannedTensor {
  const tensor = findTensor(source, weights);
  const isVector = source.shape.length === 1;
  const rows = source.rows ?? [{ first: 0, count: source.shape[0]! }];
  const taken = rows.reduce((sum, range) => sum + range.count, 0);
  const cols = isVector ? taken : source.shape.at(-1);
  assert(cols === shape.cols && (isVector ? 1 : taken) === shape.rows, `the family gives ${shape.name} its own shape`);
  const sizeBytes = shape.rows * rowBytes(tensor.dtype, shape.cols);
  return { name: shape.name, tensor, cols: shape.cols, isVector, rows, plus: source.plus ?? 0, sizeBytes };
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

function findTensor(source: WeightSource, weights: CheckpointWeights): ReadableTensor {
  const name = source.names.find((candidate) => weights.tensors.has(candidate));
  if (name === undefined) {
    throw new FormatError(
      "CHECKPOINT_TENSOR_MISSING",
      `${weights.fileName}: expected tensor ${source.names.join(" or ")} of shape ${formatShape(source.shape)}, but there is none; ${weights.mismatch}`,
      { details: { file: weights.fileName, tensor: source.names[0], expected: source.shape } },
    );
  }
  const tensor = weights.tensors.get(name)!;
  if (formatShape(tensor.shape) !== formatShape(source.shape)) {
    const file = tensor.source.name;
    throw new FormatError(
      "CHECKPOINT_TENSOR_SHAPE",
      `${file}: tensor ${name}: expected shape ${formatShape(source.shape)}, found ${formatShape(tensor.shape)}; ${weights.mismatch}`,
      { details: { file, tensor: name, expected: source.shape, found: tensor.shape } },
    );
  }
  assertReadable(tensor);
  return tensor;
}
