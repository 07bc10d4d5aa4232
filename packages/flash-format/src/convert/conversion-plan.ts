/**
 * What conversion will read, decided before a weight is touched: every tensor of the model file with the checkpoint tensor, the
 * rows and the bytes it comes from. Pure. A checkpoint that cannot be converted fails here, in milliseconds.
 */
import { assert, FormatError, type ModelGeometry } from "@flashwick/core";
import type { TensorShape } from "../model-writer.js";
import { assertReadable, formatShape, type ReadableTensor, sourceElementBytes } from "./checkpoint-tensor.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import {
  type CheckpointFamily,
  ffnSource,
  type RowRange,
  residentSource,
  type WeightSource,
} from "./families/family.js";

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
  /** Checkpoint bytes of everything above. */
  readonly totalBytes: number;
}

/**
 * Plans a conversion.
 *
 * @throws {FormatError} `CHECKPOINT_TENSOR_MISSING`, `CHECKPOINT_TENSOR_SHAPE`, naming file, tensor, expected and found shape.
 * {UnsupportedError} `UNSUPPORTED_FEATURE` for element types and strides that are not read.
 */
export function planConversion(
  family: CheckpointFamily,
  geometry: ModelGeometry,
  residentTensors: readonly TensorShape[],
  weights: CheckpointWeights,
): ConversionPlan {
  const tensors = residentTensors.map((shape) => planTensor(shape, residentSource(family, shape, geometry), weights));
  const layers = geometry.layers.map((_, layer) => planLayer(family, geometry, layer, weights));
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
  const sizeBytes = shape.rows * shape.cols * sourceElementBytes(tensor.dtype);
  return { name: shape.name, tensor, cols: shape.cols, isVector, rows, plus: source.plus ?? 0, sizeBytes };
}

function planLayer(
  family: CheckpointFamily,
  geometry: ModelGeometry,
  layer: number,
  weights: CheckpointWeights,
): PlannedLayer {
  const source = ffnSource(family, layer, geometry);
  const gate = source.gate && findTensor(source.gate, weights);
  const up = findTensor(source.up, weights);
  const down = findTensor(source.down, weights);
  const elements = geometry.layers[layer]!.ffn.dFf * geometry.dModel;
  const elementBytes = [gate, up, down].reduce((sum, part) => sum + (part ? sourceElementBytes(part.dtype) : 0), 0);
  return { name: `blk.${layer}.ffn`, layer, gate, up, down, sizeBytes: elements * elementBytes };
}

function findTensor(source: WeightSource, weights: CheckpointWeights): ReadableTensor {
  const name = source.names.find((candidate) => weights.tensors.has(candidate));
  if (name === undefined) {
    throw new FormatError(
      "CHECKPOINT_TENSOR_MISSING",
      `${weights.fileName}: expected tensor ${source.names.join(" or ")} of shape ${formatShape(source.shape)}, but there is none; the checkpoint does not match its config.json`,
      { details: { file: weights.fileName, tensor: source.names[0], expected: source.shape } },
    );
  }
  const tensor = weights.tensors.get(name)!;
  if (formatShape(tensor.shape) !== formatShape(source.shape)) {
    const file = tensor.source.name;
    throw new FormatError(
      "CHECKPOINT_TENSOR_SHAPE",
      `${file}: tensor ${name}: expected shape ${formatShape(source.shape)}, found ${formatShape(tensor.shape)}; the checkpoint does not match its config.json`,
      { details: { file, tensor: name, expected: source.shape, found: tensor.shape } },
    );
  }
  assertReadable(tensor);
  return tensor;
}
