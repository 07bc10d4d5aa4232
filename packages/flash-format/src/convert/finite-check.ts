/** No weight of a model file is NaN or infinite: what conversion holds its source to. */
import { FormatError } from "@flashwick/core";
import { type CheckpointTensor, formatShape } from "./checkpoint-tensor.js";
import { firstNonFinite } from "./source-elements.js";

/**
 * @param place Row and column, or for a vector row 0 and index, of element i.
 * @throws {FormatError} `CHECKPOINT_TENSOR_VALUE` naming the place.
 */
export function checkFinite(
  values: Float32Array,
  tensor: CheckpointTensor,
  place: (i: number) => readonly number[],
): void {
  const index = firstNonFinite(values);
  if (index < 0) return;
  const at = place(index).slice(tensor.shape.length === 1 ? 1 : 0);
  const found = String(values[index]);
  const file = tensor.source.name;
  throw new FormatError(
    "CHECKPOINT_TENSOR_VALUE",
    `${file}: tensor ${tensor.name}: expected finite weights, found ${found} at ${formatShape(at)}; the weights are damaged or diverged in training`,
    { details: { file, tensor: tensor.name, at, found } },
  );
}
