/**
 * The predictor of the scaled model: the source's, expanded. Pure.
 *
 *     score' = W2'·relu(W1'·x')     x' = x/(m·f), m copies   (the FFN's normed input, tensor-expansion.ts)
 *     W1' = f·W1, columns m times, rows k times              W2' = W2/k, rows in the order of neurons, columns k times
 *
 * (in a parallel block x' = x/(m·p), and W1' = p·W1), so score' of a copy is score of its neuron, and thresholds and quality stay. k, the rank factor, makes the work as much
 * as that of a predictor trained for the large model.
 */
import {
  blockBytes,
  decodeFloat16,
  encodeFloat16,
  type Predictor,
  type PredictorMatrix,
  rowBytes,
  type SparsityStatistics,
} from "@flashwick/core";
import { type Copies, tiled } from "./expansion.js";
import { type GeometryScale, layerWeights, nearestPowerOfTwo } from "./geometry-scale.js";
import { neuronOrder } from "./neuron-order.js";

/** Share of a model's layer weights in its predictors: OPT 6.7B in "LLM in a flash", mean rank 240 over 32 layers. */
const PAPER_SHARE = 0.0244;

/** The rank factor that makes a predictor as large a part of the model as the paper's; at least 1. */
export function paperRankFactor({ target, targetGeometry, layers }: GeometryScale, predictor: Predictor): number {
  const rankSum = layers.reduce((sum, { sourceLayer }) => sum + predictor.layers[sourceLayer]!.rank, 0);
  return Math.max(
    1,
    Math.round((PAPER_SHARE * layerWeights(targetGeometry)) / (rankSum * (target.dModel + target.dFf))),
  );
}

/**
 * Expands a predictor.
 *
 * @param fingerprint Of the scaled model.
 * @param seed        The one that the model's neurons were ordered by.
 * Cost: the result, in memory; about a fortieth of the model's weights.
 */
export function scalePredictor(
  predictor: Predictor,
  scale: GeometryScale,
  fingerprint: string,
  rankFactor: number,
  seed: number,
): Predictor {
  const { source, target, parallel, widthCopies, neuronCopies } = scale;
  const columns = tiled(source.dModel, widthCopies);
  const inputFactor = parallel ? nearestPowerOfTwo(widthCopies) : neuronCopies;
  // Layers made of one source layer share W1; the order of neurons is each one's own.
  const firstMatrices = predictor.layers.map(({ w1, rank }) =>
    expandMatrix(w1, tiled(rank, rankFactor), columns, inputFactor),
  );
  const layers = scale.layers.map(({ sourceLayer }, layer) => {
    const { rank, w2, ...quality } = predictor.layers[sourceLayer]!;
    const order = neuronOrder(source.dFf, neuronCopies, seed, layer);
    const rows = { indices: order.map((i) => i % source.dFf), factors: new Float32Array(order.length) };
    const second = expandMatrix(w2, rows, tiled(rank, rankFactor), 1 / rankFactor);
    return { ...quality, layer, rank: rank * rankFactor, w1: firstMatrices[sourceLayer]!, w2: second };
  });
  const scaled = { from: predictor.modelFingerprint, rankFactor, seed, widthCopies, neuronCopies };
  const training = { ...predictor.training, scaled };
  const sparsity = scaledSparsity(predictor, scale);
  return { modelFingerprint: fingerprint, dModel: target.dModel, dFf: target.dFf, layers, sparsity, training };
}

/** Shares stay, layer by layer; runs do not: the copies of a neuron are placed at random. */
function scaledSparsity({ sparsity }: Predictor, scale: GeometryScale): SparsityStatistics | null {
  if (sparsity === null) return null;
  const layers = scale.layers.map(({ sourceLayer }) => sparsity.layers[sourceLayer]!);
  return { ...sparsity, source: `${sparsity.source}, scaled`, layers, clumping: null };
}

/** Rows and columns of a matrix copied, all times `factor`. int8 takes the factor into its scales, f16 rounds. */
export function expandMatrix(
  matrix: PredictorMatrix,
  { indices: rows }: Copies,
  { indices: columns }: Copies,
  factor: number,
): PredictorMatrix {
  const { dtype, cols } = matrix;
  const shape = { dtype, rows: rows.length, cols: columns.length };
  const small = elementsOf(matrix.data, dtype);
  const data = new Uint8Array(rows.length * rowBytes(dtype, columns.length));
  const large = elementsOf(data, dtype);
  const times = timesFactor(dtype, factor);
  const row = small.slice(0, cols);
  for (let r = 0; r < rows.length; r++) {
    for (let c = 0; c < cols; c++) row[c] = times(small[rows[r]! * cols + c]!);
    for (let c = 0; c < columns.length; c++) large[r * columns.length + c] = row[columns[c]!]!;
  }
  const scales = matrix.scales === null ? null : Float32Array.from(rows, (r) => matrix.scales![r]! * factor);
  return { ...shape, data, scales };
}

function elementsOf(data: Uint8Array, dtype: PredictorMatrix["dtype"]): Int8Array | Uint16Array | Float32Array {
  // A copy where the bytes do not begin at a multiple of the element size.
  const bytes = data.byteOffset % blockBytes(dtype) === 0 ? data : data.slice();
  const count = bytes.byteLength / blockBytes(dtype);
  if (dtype === "int8") return new Int8Array(bytes.buffer, bytes.byteOffset, count);
  if (dtype === "f16") return new Uint16Array(bytes.buffer, bytes.byteOffset, count);
  return new Float32Array(bytes.buffer, bytes.byteOffset, count);
}

/** What becomes of one stored element. */
function timesFactor(dtype: PredictorMatrix["dtype"], factor: number): (element: number) => number {
  if (dtype === "int8") return (element) => element;
  if (dtype === "f16") return (element) => encodeFloat16(decodeFloat16(element) * factor);
  return (element) => element * factor;
}
