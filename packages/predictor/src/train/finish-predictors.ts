/** Trained layers become a predictor: thresholds chosen over all layers together, weights as stored, quality beside them. */
import { assert, InputError, type Predictor, type PredictorLayer } from "@flashwick/core";
import { qualityAt } from "./calibration-curve.js";
import { chooseThresholdBins } from "./threshold-choice.js";
import { DEFAULT_NAMED_PER_ACTIVE, storeWeights, type TrainedLayer } from "./train-layer.js";

/** What thresholds are chosen by, and what the file will say of its making. */
export interface FinishOptions {
  readonly modelFingerprint: string;
  /** Neurons named in the whole model, as a multiple of those truly active. Default `DEFAULT_NAMED_PER_ACTIVE`. */
  readonly namedPerActive?: number;
  /** Facts for the file's reader: tokens, seed, command. JSON values. */
  readonly training?: Readonly<Record<string, unknown>>;
}

/**
 * Makes the predictor of a model.
 *
 * Its quality is counted on the held-out tokens of the curves, with the weights as they are stored: no estimate.
 *
 * @param layers Every layer of the model, ascending, of one width, trained from one recording.
 * @throws {InputError} `INPUT_INVALID` if a layer is missing or the ratio is not positive.
 */
export function finishPredictors(layers: readonly TrainedLayer[], options: FinishOptions): Predictor {
  const { modelFingerprint, namedPerActive = DEFAULT_NAMED_PER_ACTIVE } = options;
  checkLayers(layers, namedPerActive);
  const curves = layers.map(({ curve }) => curve);
  const bins = chooseThresholdBins(curves, namedPerActive);
  const { dModel, dFf } = layers[0]!;
  return {
    modelFingerprint,
    dModel,
    dFf,
    layers: layers.map((trained, i): PredictorLayer => {
      const { w1, w2 } = storeWeights(trained, trained.weights);
      return { ...qualityAt(trained.curve, bins[i]!, trained.layer, trained.rank), w1, w2 };
    }),
    sparsity: null,
    training: {
      namedPerActive,
      trainTokens: layers[0]!.trainTokens,
      heldOutTokens: curves[0]!.tokens,
      epochs: layers.map(({ epochs }) => epochs.length),
      ...options.training,
    },
  };
}

function checkLayers(layers: readonly TrainedLayer[], namedPerActive: number): void {
  if (layers.length === 0) throw new InputError("INPUT_INVALID", "predictor: expected at least one trained layer");
  for (const [i, { layer }] of layers.entries()) {
    if (layer === i) continue;
    throw new InputError(
      "INPUT_INVALID",
      `predictor: expected layer ${i} next, found layer ${layer}; train every layer`,
      {
        details: { expected: i, found: layer },
      },
    );
  }
  if (!(namedPerActive > 0)) {
    throw new InputError("INPUT_INVALID", `predictor: named per active is ${namedPerActive}, expected above 0`);
  }
  const { dModel, dFf, curve } = layers[0]!;
  const alike = layers.every((l) => l.dModel === dModel && l.dFf === dFf && l.curve.tokens === curve.tokens);
  assert(alike, "layers of one model, measured on the same tokens");
}
