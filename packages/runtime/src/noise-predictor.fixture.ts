/** Test support: a predictor of noise, which names about half of the neurons and misses many. */
import { blockElements, neuronGrid, type Predictor, Random } from "@flashwick/core";
import type { ModelHeader } from "@flashwick/flash-format";
import { type PredictorDType, quantisePredictorMatrix } from "@flashwick/predictor";

const PLAIN_RANK = 8;

export function noisePredictor({ fingerprint, geometry }: ModelHeader, dtype: PredictorDType = "int8"): Predictor {
  const rank = Math.max(PLAIN_RANK, blockElements(dtype));
  const { nLayers, dModel, dFf } = neuronGrid(geometry);
  const random = new Random(7);
  const matrix = (rows: number, cols: number) =>
    quantisePredictorMatrix(
      Float32Array.from({ length: rows * cols }, () => random.uniform() - 0.5),
      rows,
      cols,
      dtype,
    );
  const quality = { trueActiveShare: 0.5, namedShare: 0.5, recall: 0.5, precision: 0.5, missedMass: 0.5 };
  return {
    modelFingerprint: fingerprint,
    dModel,
    dFf,
    layers: Array.from({ length: nLayers }, (_, layer) => ({
      ...quality,
      layer,
      rank,
      threshold: 0,
      w1: matrix(rank, dModel),
      w2: matrix(dFf, rank),
    })),
    sparsity: null,
    training: {},
  };
}
