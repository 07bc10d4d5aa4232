/** Whether a predictor belongs to a model: fingerprint first, since a foreign predictor gives fluent wrong text. */
import {
  FormatError,
  IntegrityError,
  type ModelGeometry,
  type Predictor,
  type PredictorLayer,
  type PredictorLayerShape,
  type PredictorSource,
} from "@flashwick/core";
import { checkPredictorMatrix } from "./predictor-matrix.js";

/** What a predictor is held against; a model header has it. */
export interface PredictedModel {
  readonly fingerprint: string;
  readonly geometry: Pick<ModelGeometry, "dModel"> & {
    readonly layers: readonly { readonly ffn: Pick<ModelGeometry["layers"][number]["ffn"], "dFf"> }[];
  };
}

/**
 * Checks a predictor against the model that it is to serve.
 *
 * @throws {IntegrityError} `INTEGRITY_FINGERPRINT` for a predictor of another model.
 *   {FormatError} `FORMAT_INVALID` for widths, layers, ranks, thresholds or matrices that do not fit.
 */
export function checkPredictor(
  predictor: Predictor | PredictorSource,
  { fingerprint, geometry }: PredictedModel,
): void {
  if (predictor.modelFingerprint !== fingerprint) {
    throw new IntegrityError(
      "INTEGRITY_FINGERPRINT",
      `predictor: it belongs to the model ${predictor.modelFingerprint.slice(0, 12)}…, but this model is ` +
        `${fingerprint.slice(0, 12)}…; train a predictor for this model`,
      { details: { expected: fingerprint, found: predictor.modelFingerprint } },
    );
  }
  const { dModel, layers } = geometry;
  const widths = layers.map(({ ffn }) => ffn.dFf);
  expectNumber("dModel", dModel, predictor.dModel);
  expectNumber("dFf", Math.max(...widths), predictor.dFf);
  expectNumber("layers", layers.length, predictor.layers.length);
  for (const [index, layer] of predictor.layers.entries()) checkLayer(layer, index, { dModel, dFf: widths[index]! });
}

function checkLayer(
  layer: PredictorLayer | PredictorLayerShape,
  index: number,
  { dModel, dFf }: Pick<Predictor, "dModel" | "dFf">,
): void {
  expectNumber(`at place ${index} layer`, index, layer.layer);
  if (!Number.isInteger(layer.rank) || layer.rank < 1) {
    throw invalid(`layer ${index} rank`, "a positive integer", layer.rank);
  }
  if (Number.isNaN(layer.threshold)) throw invalid(`layer ${index} threshold`, "a number", layer.threshold);
  checkPredictorMatrix(layer.w1, layer.rank, dModel, `layer ${index} W1`);
  checkPredictorMatrix(layer.w2, dFf, layer.rank, `layer ${index} W2`);
}

function expectNumber(what: string, expected: number, found: number): void {
  if (expected !== found) throw invalid(what, expected, found);
}

function invalid(what: string, expected: unknown, found: unknown): FormatError {
  return new FormatError(
    "FORMAT_INVALID",
    `predictor: expected ${what} ${expected}, found ${found}; train a predictor for this model`,
    { details: { what, expected, found } },
  );
}
