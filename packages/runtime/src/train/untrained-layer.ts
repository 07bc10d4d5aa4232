/** A predictor of some layers becomes one of the whole model: layers without training name every neuron, which is always right. */
import type { Predictor, PredictorLayer, PredictorMatrix } from "@flashwick/core";

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
    rank: 1,
    threshold: Number.NEGATIVE_INFINITY,
    trueActiveShare: 1,
    namedShare: 1,
    recall: 1,
    precision: 1,
    missedMass: 0,
    w1: zeros(1, dModel),
    w2: zeros(dFf, 1),
  };
}

function zeros(rows: number, cols: number): PredictorMatrix {
  return { dtype: "f16", rows, cols, data: new Uint8Array(2 * rows * cols), scales: null };
}
