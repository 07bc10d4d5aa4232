/** A predictor of some layers becomes one of the whole model: layers without training name every neuron, which is always right. */
import { type Predictor, type PredictorLayer, type PredictorMatrix, rowBytes } from "@flashwick/core";
import type { PredictorSize } from "@flashwick/predictor/train";

/** The least that a layer can have: its scores are all 0. */
export const UNTRAINED_SIZE: PredictorSize = { rank: 1, dtype: "f16" };

/**
 * @param trained Predictors of `layers`, in their order, numbered from 0.
 * @param layers  Ascending numbers of layers, each below `nLayers`.
 */
export function spreadLayers(trained: Predictor, layers: readonly number[], nLayers: number): Predictor {
  const { dModel, dFf } = trained;
  const all = Array.from({ length: nLayers }, (_, layer) => {
    const at = layers.indexOf(layer);
    return at < 0 ? untrainedLayer(layer, dModel, dFf) : { ...trained.layers[at]!, layer };
  });
  return { ...trained, layers: all };
}

/** Every score is 0, above the threshold; nothing is known of the neurons, so what is active counts as all. */
function untrainedLayer(layer: number, dModel: number, dFf: number): PredictorLayer {
  return {
    layer,
    rank: UNTRAINED_SIZE.rank,
    threshold: Number.NEGATIVE_INFINITY,
    trueActiveShare: 1,
    namedShare: 1,
    recall: 1,
    precision: 1,
    missedMass: 0,
    w1: zeros(UNTRAINED_SIZE.rank, dModel),
    w2: zeros(dFf, UNTRAINED_SIZE.rank),
  };
}

function zeros(rows: number, cols: number): PredictorMatrix {
  const { dtype } = UNTRAINED_SIZE;
  return { dtype, rows, cols, data: new Uint8Array(rows * rowBytes(dtype, cols)), scales: null };
}
