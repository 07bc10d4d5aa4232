/** A predictor of noise, which names about half of the neurons: what it says matters to nobody, and that it is read matters. */
import { blockElements, neuronGrid, type Predictor, Random } from "@flashwick/core";
import type { ModelHeader } from "@flashwick/flash-format";
import { type PredictorDType, quantisePredictorMatrix } from "@flashwick/predictor";

const PLAIN_RANK = 8;
const HALF = { trueActiveShare: 0.5, namedShare: 0.5, recall: 0.5, precision: 0.5, missedMass: 0.5 };

export function noisePredictor({ fingerprint, geometry }: ModelHeader, dtype: PredictorDType = "int8"): Predictor {
  const { nLayers, dModel, dFf } = neuronGrid(geometry);
  const rank = Math.max(PLAIN_RANK, blockElements(dtype));
  const random = new Random(7);
  const matrix = (rows: number, cols: number) => {
    const weights = Float32Array.from({ length: rows * cols }, () => random.uniform() - 0.5);
    return quantisePredictorMatrix(weights, rows, cols, dtype);
  };
  const layers = Array.from({ length: nLayers }, (_, layer) => {
    return { ...HALF, layer, rank, threshold: 0, w1: matrix(rank, dModel), w2: matrix(dFf, rank) };
  });
  return { modelFingerprint: fingerprint, dModel, dFf, layers, sparsity: null, training: {} };
}
