/** Measured quality of predictors, for a person. */
import type { PredictorLayerShape, PredictorQuality } from "@flashwick/core";
import { figure, percent, table } from "./table.js";

/** The type of a layer's weights; where W1 and W2 differ, both. */
export function weightType({ w1, w2 }: Pick<PredictorLayerShape, "w1" | "w2">): string {
  return w1.dtype === w2.dtype ? w1.dtype : `${w1.dtype}, ${w2.dtype}`;
}

/** A row a layer, on held-out tokens; shares of `dFf`. */
export function qualityTable(layers: readonly (PredictorQuality & { readonly dtype: string })[]): string {
  return table([
    ["layer", "rank", "type", "threshold", "active", "named", "recall", "precision", "missed mass"],
    ...layers.map((l) => [
      l.layer,
      l.rank,
      l.dtype,
      figure(l.threshold),
      percent(l.trueActiveShare),
      percent(l.namedShare),
      percent(l.recall),
      percent(l.precision),
      percent(l.missedMass),
    ]),
  ]);
}
