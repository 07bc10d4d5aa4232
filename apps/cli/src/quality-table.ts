/** Measured quality of predictors, for a person. */
import type { PredictorQuality } from "@flashwick/core";
import { figure, percent, table } from "./table.js";

/** A row a layer, on held-out tokens; shares of `dFf`. */
export function qualityTable(layers: readonly PredictorQuality[]): string {
  return table([
    ["layer", "rank", "threshold", "active", "named", "recall", "precision", "missed mass"],
    ...layers.map((l) => [
      l.layer,
      l.rank,
      figure(l.threshold),
      percent(l.trueActiveShare),
      percent(l.namedShare),
      percent(l.recall),
      percent(l.precision),
      percent(l.missedMass),
    ]),
  ]);
}
