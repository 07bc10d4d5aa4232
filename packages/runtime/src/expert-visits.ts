/**
 * Which rows of a step visit which expert, and where their outputs go. Pure.
 *
 * Outputs of all visits lie in one buffer, those of one expert side by side, in the order of its rows. So an expert is visited once for all its rows
 * of a step, whenever it is there, and the sum of a row, which is in the order of experts, is taken afterwards.
 */
import type { TokenRoute } from "./router.js";

/** The rows that use one expert. */
export interface ExpertVisit {
  readonly expert: number;
  /** Of the step, ascending. */
  readonly rows: Uint32Array;
  /** Of its first row's output among those of all visits. */
  readonly firstOutput: number;
}

/** An output, and what it is multiplied by. */
export interface WeightedOutput {
  readonly output: number;
  readonly weight: number;
}

export interface StepVisits {
  /** By expert. */
  readonly visits: ReadonlyMap<number, ExpertVisit>;
  /** By row: its outputs, in ascending order of experts. */
  readonly sums: readonly (readonly WeightedOutput[])[];
}

export function planVisits(routes: readonly TokenRoute[]): StepVisits {
  const rowsOf = new Map<number, number[]>();
  for (const [row, { experts }] of routes.entries()) {
    for (const expert of experts) {
      const rows = rowsOf.get(expert);
      if (rows) rows.push(row);
      else rowsOf.set(expert, [row]);
    }
  }
  const visits = new Map<number, ExpertVisit>();
  let firstOutput = 0;
  for (const expert of [...rowsOf.keys()].sort((a, b) => a - b)) {
    const rows = Uint32Array.from(rowsOf.get(expert)!);
    visits.set(expert, { expert, rows, firstOutput });
    firstOutput += rows.length;
  }
  const taken = new Map<number, number>();
  const sums = routes.map(({ experts, weights }) =>
    Array.from(experts, (expert, i): WeightedOutput => {
      const nth = taken.get(expert) ?? 0;
      taken.set(expert, nth + 1);
      return { output: visits.get(expert)!.firstOutput + nth, weight: weights[i]! };
    }),
  );
  return { visits, sums };
}
