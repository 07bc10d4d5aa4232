/** Tensors of a checkpoint by what a family says of them. */
import { FormatError } from "@flashwick/core";
import { assertReadable, type CheckpointTensor, formatShape, type ReadableTensor } from "./checkpoint-tensor.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import type { WeightSource } from "./families/family.js";

/**
 * A tensor whose elements can be streamed.
 *
 * @throws As {@link findStored}. {UnsupportedError} `UNSUPPORTED_FEATURE` for element types and strides that are not read.
 */
export function findTensor(source: WeightSource, weights: CheckpointWeights): ReadableTensor {
  const tensor = findStored(source, weights);
  assertReadable(tensor);
  return tensor;
}

/** @throws {FormatError} `CHECKPOINT_TENSOR_MISSING`, `CHECKPOINT_TENSOR_SHAPE`. */
export function findStored(source: WeightSource, weights: CheckpointWeights): CheckpointTensor {
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
  return tensor;
}
