/**
 * One predictor and one threshold a layer, chosen together from several trained ones: of all choices within a budget of reads and one of
 * predictor bytes, that which misses least output mass.
 *
 *     minimise Σ_l missed_l   subject to   Σ_l cost_l · named_l ≤ budget   and   Σ_l bytes_l ≤ maxBytes
 *
 * With a price μ on reads (Lagrange) layers decouple but for the bytes, which are spent greedily where a byte saves most; μ is found by
 * bisection. With one candidate and equal costs this is threshold-choice.ts.
 */
import { assert } from "@flashwick/core";
import { accumulateCurve, type CalibrationCurve, CURVE_BINS, type NamedAbove } from "./calibration-curve.js";

/** A trained predictor of one layer. */
export interface Candidate {
  readonly curve: CalibrationCurve;
  /** Of W1 and W2, as they are stored. */
  readonly bytes: number;
}

/** What a choice among predictors may cost. */
export interface CandidateBudget {
  /** Neurons named in all layers together, each times its layer's cost, over the same sum for the truly active ones. At most this is named. */
  readonly namedPerActive: number;
  /** Default: any. Never below the lightest candidates. */
  readonly maxBytes?: number;
  /** What naming a neuron of each layer costs, relative; default 1 everywhere. */
  readonly costs?: readonly number[];
}

/** Which of its candidates a layer takes, and its threshold as a bin of the curve. */
export interface CandidateChoice {
  /** Index into the layer's candidates. */
  readonly candidate: number;
  readonly bin: number;
}

/** Bisections of log μ. */
const STEPS = 60;

/** A candidate with its running sums. */
interface Option extends Candidate {
  readonly above: NamedAbove;
}

/**
 * For each layer a candidate and a threshold, by the least missed mass within the budget of all layers.
 *
 * @param candidates By layer, each of them at least one, all measured on the same tokens.
 * Cost: 60 passes over the curves.
 */
export function chooseCandidates(
  candidates: readonly (readonly Candidate[])[],
  { namedPerActive, maxBytes = Number.POSITIVE_INFINITY, costs }: CandidateBudget,
): CandidateChoice[] {
  assert(
    candidates.every((of) => of.length > 0),
    "a candidate for every layer",
  );
  const cost = costs ?? candidates.map(() => 1);
  const layers = candidates.map((of) => of.map((one): Option => ({ ...one, above: accumulateCurve(one.curve) })));
  const budget = namedPerActive * layers.reduce((sum, of, l) => sum + cost[l]! * of[0]!.curve.active, 0);
  const spent = (choice: readonly CandidateChoice[]) =>
    choice.reduce((sum, { candidate, bin }, l) => sum + cost[l]! * layers[l]![candidate]!.above.named[bin]!, 0);
  let [low, high] = [Math.log(1e-12), Math.log(1e12)];
  let best = choiceAt(layers, cost, Math.exp(high), maxBytes);
  for (let step = 0; step < STEPS; step++) {
    const middle = (low + high) / 2;
    const choice = choiceAt(layers, cost, Math.exp(middle), maxBytes);
    if (spent(choice) <= budget) [best, high] = [choice, middle];
    else low = middle;
  }
  return best;
}

function choiceAt(
  layers: readonly (readonly Option[])[],
  costs: readonly number[],
  price: number,
  maxBytes: number,
): CandidateChoice[] {
  const bins = layers.map((of, l) => of.map((option) => cheapestBin(option, price * costs[l]!)));
  const choice = layers.map((of) => of.reduce((best, { bytes }, c) => (bytes < of[best]!.bytes ? c : best), 0));
  let left = maxBytes - layers.reduce((sum, of, l) => sum + of[choice[l]!]!.bytes, 0);
  for (;;) {
    const step = bestStep(layers, bins, choice, left);
    if (step === null) return choice.map((candidate, l) => ({ candidate, bin: bins[l]![candidate]!.bin }));
    left -= layers[step.layer]![step.candidate]!.bytes - layers[step.layer]![choice[step.layer]!]!.bytes;
    choice[step.layer] = step.candidate;
  }
}

/** Where the next bytes save most: a layer and the candidate to take there; null if none does that fits. */
function bestStep(
  layers: readonly (readonly Option[])[],
  bins: readonly (readonly { readonly value: number }[])[],
  choice: readonly number[],
  left: number,
): { readonly layer: number; readonly candidate: number } | null {
  let best: { layer: number; candidate: number } | null = null;
  let most = 0;
  for (const [layer, of] of layers.entries()) {
    const now = choice[layer]!;
    for (const [candidate, { bytes }] of of.entries()) {
      const more = bytes - of[now]!.bytes;
      if (more > left) continue;
      const gain = (bins[layer]![now]!.value - bins[layer]![candidate]!.value) / Math.max(1, more);
      if (gain > most) [best, most] = [{ layer, candidate }, gain];
    }
  }
  return best;
}

/** The bin of least missed mass plus priced reads, and that sum. */
function cheapestBin({ above: { named, missed } }: Option, price: number): { bin: number; value: number } {
  let bin = CURVE_BINS - 1;
  let value = Number.POSITIVE_INFINITY;
  for (let b = CURVE_BINS - 1; b >= 0; b--) {
    const sum = missed[b]! + price * named[b]!;
    if (sum < value) [bin, value] = [b, sum];
  }
  return { bin, value };
}
