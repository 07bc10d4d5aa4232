/** A predictor for a file that some neurons were left out of: it names the others as it did before. */
import { assert, IntegrityError, type Predictor, type PredictorLayer, type SparsityStatistics } from "@flashwick/core";
import { takeRows } from "./reorder-predictor.js";

/** A model that was pruned, as its header tells. */
export interface PrunedModel {
  readonly fingerprint: string;
  /** Fingerprint of the model with all neurons. */
  readonly from: string;
}

/**
 * The predictor of a pruned model, made of the predictor of the model with all neurons. A neuron that stays has its
 * score and threshold unchanged.
 *
 * Recall, precision and missed mass stay those measured before; shares are of fewer neurons, as if none of those left
 * out had ever fired.
 *
 * @param kept By layer: the neurons of `predictor` that stay, in the order of their records.
 * @param sparsity What is named of a text without the others. Null: not looked at.
 * @throws {IntegrityError} `INTEGRITY_FINGERPRINT` for a predictor of another model.
 */
export function prunePredictor(
  predictor: Predictor,
  kept: readonly Uint32Array[],
  { fingerprint, from }: PrunedModel,
  sparsity: SparsityStatistics | null,
): Predictor {
  requirePredictorOf(predictor, from);
  assert(kept.length === predictor.layers.length, "kept neurons of every layer of the predictor");
  return {
    ...predictor,
    modelFingerprint: fingerprint,
    dFf: Math.max(...kept.map(({ length }) => length)),
    layers: predictor.layers.map((layer, l) => pruneLayer(layer, kept[l]!)),
    sparsity,
  };
}

function pruneLayer(layer: PredictorLayer, kept: Uint32Array): PredictorLayer {
  const ofKept = (share: number) => Math.min(1, (share * layer.w2.rows) / kept.length);
  const { trueActiveShare, namedShare } = layer;
  return {
    ...layer,
    trueActiveShare: ofKept(trueActiveShare),
    namedShare: ofKept(namedShare),
    w2: takeRows(layer.w2, kept),
  };
}

/**
 * Refuses a predictor of another model than the one that is pruned.
 *
 * @param from Fingerprint of that model, with all its neurons.
 * @throws {IntegrityError} `INTEGRITY_FINGERPRINT` for a predictor of another model.
 */
export function requirePredictorOf(
  { modelFingerprint: found }: Pick<Predictor, "modelFingerprint">,
  from: string,
): void {
  if (found === from) return;
  throw new IntegrityError(
    "INTEGRITY_FINGERPRINT",
    `predictor: it belongs to the model ${found.slice(0, 12)}…, but the one that is pruned is ${from.slice(0, 12)}… with all its neurons; ` +
      "train a predictor of the checkpoint converted without --prune",
    { details: { expected: from, found } },
  );
}
