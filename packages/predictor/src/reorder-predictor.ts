/** A predictor for a file whose neurons stand in another order: it must name neurons by the positions of their records. */
import { assert, type Predictor, type PredictorMatrix, rowBytes, type SparsityStatistics } from "@flashwick/core";

/**
 * The predictor of a file whose records stand in another order.
 *
 * @param placement By layer, at i: which neuron of `predictor` the new file's record i holds.
 * @param modelFingerprint Of the new file.
 * @param sparsity As the new order has it: which neurons are neighbours has changed. Null: not looked at.
 */
export function reorderPredictor(
  predictor: Predictor,
  placement: readonly Uint32Array[],
  modelFingerprint: string,
  sparsity: SparsityStatistics | null,
): Predictor {
  assert(placement.length === predictor.layers.length, "a placement for every layer of the predictor");
  const layers = predictor.layers.map((layer, l) => {
    const order = placement[l]!;
    assert(order.length === layer.w2.rows, `${order.length} neurons for ${layer.w2.rows} rows`);
    return { ...layer, w2: takeRows(layer.w2, order) };
  });
  return { ...predictor, modelFingerprint, layers, sparsity };
}

/** The rows of a matrix in another order, or a part of them. */
export function takeRows(matrix: PredictorMatrix, order: Uint32Array): PredictorMatrix {
  const { dtype, cols, data, scales } = matrix;
  const size = rowBytes(dtype, cols);
  const out = new Uint8Array(order.length * size);
  for (const [at, row] of order.entries()) out.set(data.subarray(row * size, (row + 1) * size), at * size);
  return {
    ...matrix,
    rows: order.length,
    data: out,
    scales: scales && Float32Array.from(order, (row) => scales[row]!),
  };
}
