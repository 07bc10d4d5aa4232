/**
 * Which rows of a step visit which expert, and where their outputs go. Pure.
 *
 * Outputs of all visits lie in one buffer, those of one expert side by side, in the order of its rows. So an expert is visited once for all its rows
 * of a step, whenever it is there, and outputs are added to the rows afterwards, in the order of experts.
 */
import type { TokenRoute } from "./router.js";

/** The rows that use one expert. */
export interface ExpertVisit {
  readonly expert: number;
  /** Of the step, ascending. */
  readonly rows: Uint32Array;
  /** What each row's output is multiplied by, f32. */
  readonly weights: Float32Array;
  /** Of its first row's output among those of all visits. */
  readonly firstOutput: number;
}

/** By expert, in ascending order. */
export type StepVisits = ReadonlyMap<number, ExpertVisit>;

export function planVisits(routes: readonly TokenRoute[]): StepVisits {
  const uses = new Map<number, { readonly row: number; readonly weight: number }[]>();
  for (const [row, { experts, weights }] of routes.entries()) {
    for (const [i, expert] of experts.entries()) {
      const of = uses.get(expert) ?? [];
      uses.set(expert, of);
      of.push({ row, weight: weights[i]! });
    }
  }
  const visits = new Map<number, ExpertVisit>();
  let firstOutput = 0;
  for (const expert of [...uses.keys()].sort((a, b) => a - b)) {
    const of = uses.get(expert)!;
    const rows = Uint32Array.from(of, ({ row }) => row);
    visits.set(expert, { expert, rows, weights: Float32Array.from(of, ({ weight }) => weight), firstOutput });
    firstOutput += of.length;
  }
  return visits;
}
