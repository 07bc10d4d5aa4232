/** Test support: a predictor of noise, which names about half of the neurons and misses many. */
import { neuronGrid, type Predictor, Random } from "@flashwick/core";
import type { ModelHeader } from "@flashwick/flash-format";
import { quantisePredictorMatrix } from "@flashwick/predictor";

const RANK = 8;

export function noisePredictor({ fingerprint, geometry }: ModelHeader, dtype: "f16" | "int8" = "int8"): Predictor {
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
      rank: RANK,
      threshold: 0,
      w1: matrix(RANK, dModel),
      w2: matrix(dFf, RANK),
    })),
    sparsity: null,
    training: {},
  };
}
