/** Predictors of some layers each, trained side by side, become one of all. */
import { InputError, type Predictor, type PredictorLayer } from "@flashwick/core";

/**
 * Takes each layer from the predictor that has trained it; in the others it names every neuron (`train --layers`).
 *
 * @param predictors Of one model; `name` is for messages.
 * @throws {InputError} `INPUT_INVALID` for predictors of different models, a layer that none or more than one has trained.
 * Statistics of use are not carried over: they are of runs with the other layers dense; calibrate measures them anew.
 */
export function mergePredictors(
  predictors: readonly { readonly name: string; readonly predictor: Predictor }[],
): Predictor {
  const [first, ...others] = predictors;
  if (!first) throw new InputError("INPUT_INVALID", "merging predictors: expected at least one");
  for (const { name, predictor } of others) {
    if (predictor.modelFingerprint === first.predictor.modelFingerprint) continue;
    const message = `${name} belongs to another model than ${first.name}; merge predictors of one model file`;
    throw new InputError("INPUT_INVALID", message, { details: { file: name } });
  }
  const layers = first.predictor.layers.map((_, layer): PredictorLayer => {
    const trained = predictors.filter(({ predictor }) => isTrained(predictor.layers[layer]!));
    if (trained.length === 1) return trained[0]!.predictor.layers[layer]!;
    const found = trained.length === 0 ? "none" : trained.map(({ name }) => name).join(" and ");
    const message = `layer ${layer} is trained in ${found}; expected exactly one file that has it`;
    throw new InputError("INPUT_INVALID", message, { details: { layer } });
  });
  const merged = predictors.map(({ predictor: { training } }) => training);
  return { ...first.predictor, layers, sparsity: null, training: { ...first.predictor.training, merged } };
}

function isTrained({ threshold }: PredictorLayer): boolean {
  return threshold !== Number.NEGATIVE_INFINITY;
}
