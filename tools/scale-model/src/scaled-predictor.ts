/**
 * The predictor of the scaled model: the source's, expanded. Pure.
 *
 *     score' = W2'·relu(W1'·x')     x' = x/(m·f), m copies   (the FFN's normed input, tensor-expansion.ts)
 *     W1' = f·W1, columns m times, rows k times, each times a share, ½, 1 or 2, of the power of two nearest to k, q
 *     W2' = W2/q, rows in the order of neurons, columns k times
 *
 * (in a parallel block x' = x/(m·p), and W1' = p·W1; of gated neurons x' = x/(m·√f), and W1' = √f·W1), so score' of a copy is score of its neuron, and
 * thresholds and quality stay. k, the rank factor, makes the work as much as that of a predictor trained for the large model.
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
import { type Copies, mapped, tiled, weighted } from "./expansion.js";
import {
  evenPowersOfTwo,
  ffnInputShare,
  type GeometryScale,
  layerWeights,
  nearestPowerOfTwo,
} from "./geometry-scale.js";
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
  // Copies of a hidden unit add up to a power of two, which W2 takes out again: nothing is rounded.
  const shares = evenPowersOfTwo(rankFactor);
  const hidden = (rank: number) => weighted(tiled(rank, rankFactor), (i) => shares[Math.floor(i / rank)]!);
  const inputFactor = parallel ? nearestPowerOfTwo(widthCopies) : 1 / ffnInputShare(scale);
  // Layers made of one source layer share W1; the order of neurons is each one's own.
  const firstMatrices = predictor.layers.map(({ w1, rank }) =>
    expandMatrix(w1, hidden(rank), widthCopies, inputFactor),
  );
  const layers = scale.layers.map(({ sourceLayer }, layer) => {
    const { rank, w2, ...quality } = predictor.layers[sourceLayer]!;
    const order = neuronOrder(source.dFf, neuronCopies, seed, layer);
    const rows = mapped(order.length, (i) => order[i]! % source.dFf);
    const second = expandMatrix(w2, rows, rankFactor, 1 / nearestPowerOfTwo(rankFactor));
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

/**
 * Rows of a matrix copied, each times its own factor and `factor`, and each `copies` times over its columns. Factors go where a type keeps its scale: int8's of a row, a block's;
 * f16 and blocks round them unless they are powers of two.
 */
export function expandMatrix(
  matrix: PredictorMatrix,
  { indices, factors }: Copies,
  copies: number,
  factor: number,
): PredictorMatrix {
  const { dtype, cols } = matrix;
  const smallBytes = rowBytes(dtype, cols);
  const data = new Uint8Array(indices.length * copies * smallBytes);
  const row = new Uint8Array(smallBytes);
  for (let r = 0; r < indices.length; r++) {
    const from = indices[r]! * smallBytes;
    row.set(matrix.data.subarray(from, from + smallBytes));
    multiplyRow(row, dtype, factor * factors[r]!);
    for (let copy = 0; copy < copies; copy++) data.set(row, (r * copies + copy) * smallBytes);
  }
  const { scales } = matrix;
  const scaled = scales && Float32Array.from(indices, (i, r) => scales[i]! * factor * factors[r]!);
  return { dtype, rows: indices.length, cols: cols * copies, data, scales: scaled };
}

/** Multiplies a row of stored elements; of int8 the scale is elsewhere. A block of ggml's begins with its scale, f16. */
function multiplyRow(row: Uint8Array, dtype: PredictorMatrix["dtype"], factor: number): void {
  if (dtype === "int8") return;
  const view = new DataView(row.buffer);
  for (let at = 0; at < row.length; at += blockBytes(dtype)) {
    if (dtype === "f32") view.setFloat32(at, view.getFloat32(at, true) * factor, true);
    else view.setUint16(at, encodeFloat16(decodeFloat16(view.getUint16(at, true)) * factor), true);
  }
}
