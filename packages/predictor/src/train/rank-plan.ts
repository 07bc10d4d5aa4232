/**
 * How much rank each layer gets. The paper gives its last four layers eight times the rank of the others, by hand; here a
 * short probe of each layer at a few ranks says how fast rank lowers its missed output mass, and a parameter budget for the
 * whole model is spent where a parameter gains most.
 */
import { InputError } from "@flashwick/core";

/** What a short training at one rank came to. */
export interface ProbePoint {
  readonly rank: number;
  /** Share of the layer's output mass that is missed at the probe's named ÷ active. */
  readonly missedMass: number;
}

/** One layer's probe; plain data. */
export interface RankProbe {
  readonly layer: number;
  /** Ascending ranks, at least two. */
  readonly points: readonly ProbePoint[];
  /** Output mass of the layer's active neurons per token: what one share of missed mass costs the model. */
  readonly massPerToken: number;
}

/** What ranks may spend, and on which widths. */
export interface RankBudget {
  readonly dModel: number;
  readonly dFf: number;
  /** Weights of the whole model. */
  readonly modelParameters: number;
  /** Predictor parameters as a share of the model's. Default 0.055. */
  readonly share?: number;
  /** Ranks to choose from, ascending. Default `rankLadder`. */
  readonly ladder?: readonly number[];
}

/** Share of the model's parameters that predictors may have, unless told otherwise. The paper's OPT predictors have 2.4 %. */
export const DEFAULT_PREDICTOR_SHARE = 0.055;

/** Ranks from dModel/32 (the paper's 128 for OPT 6.7B) to dModel/2, multiples of 8. */
export function rankLadder(dModel: number): number[] {
  const steps = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16];
  const ranks = steps.map((step) => Math.max(8, 8 * Math.round((step * dModel) / 256)));
  return [...new Set(ranks)];
}

/** Ranks that the budget can give to all layers alike: the mean of what {@link planRanks} spends. */
function meanRank(
  nLayers: number,
  { dModel, dFf, modelParameters, share = DEFAULT_PREDICTOR_SHARE }: RankBudget,
): number {
  // A layer's predictor has rank · (dModel + dFf) weights, so the budget is one of rank.
  return (share * modelParameters) / ((dModel + dFf) * nLayers);
}

/** The two ranks that a probe trains: rungs below and above what the budget gives on average, where the decisions fall. */
export function probeRanks(nLayers: number, budget: RankBudget): [number, number] {
  const { ladder = rankLadder(budget.dModel) } = budget;
  const mean = meanRank(nLayers, budget);
  const below = ladder.findLastIndex((rank) => rank <= 0.8 * mean);
  const low = Math.max(0, Math.min(below, ladder.length - 2));
  const above = ladder.findIndex((rank) => rank >= 1.15 * mean);
  const high = above < 0 ? ladder.length - 1 : Math.max(above, low + 1);
  return [ladder[low]!, ladder[high]!];
}

/**
 * A rank for each layer, in the order of the probes.
 *
 * Missed mass is taken to fall exponentially with rank, at the pace that the probe saw. The lowest rank of the ladder is
 * given to all; then, as long as the budget lasts, the layer with the steepest gain per parameter climbs one rung.
 *
 * @throws {InputError} `INPUT_INVALID` if the lowest rank everywhere exceeds the budget.
 */
export function planRanks(probes: readonly RankProbe[], budget: RankBudget): number[] {
  const { dModel, dFf, modelParameters, share = DEFAULT_PREDICTOR_SHARE, ladder = rankLadder(dModel) } = budget;
  let left = Math.floor(meanRank(probes.length, budget) * probes.length) - probes.length * ladder[0]!;
  if (left < 0) {
    const smallestShare = (probes.length * ladder[0]! * (dModel + dFf)) / modelParameters;
    throw new InputError(
      "INPUT_INVALID",
      `rank auto: rank ${ladder[0]} in each of ${probes.length} layers is ${(100 * smallestShare).toFixed(1)} % of the model, ` +
        `more than the ${(100 * share).toFixed(1)} % allowed; give a fixed rank or allow more`,
      { details: { share, smallestShare } },
    );
  }
  const rungs = probes.map(() => 0);
  for (;;) {
    const layer = steepestLayer(probes, rungs, ladder, left);
    if (layer < 0) return rungs.map((rung) => ladder[rung]!);
    left -= ladder[rungs[layer]! + 1]! - ladder[rungs[layer]!]!;
    rungs[layer]!++;
  }
}

/** The layer whose next rung gains most missed mass per rank and is still affordable, or -1. */
function steepestLayer(
  probes: readonly RankProbe[],
  rungs: readonly number[],
  ladder: readonly number[],
  left: number,
): number {
  let best = -1;
  let bestGain = 0;
  for (const [layer, probe] of probes.entries()) {
    const rank = ladder[rungs[layer]!]!;
    const next = ladder[rungs[layer]! + 1];
    if (next === undefined || next - rank > left) continue;
    const gain = (probe.massPerToken * (expectedMiss(probe, rank) - expectedMiss(probe, next))) / (next - rank);
    if (gain > bestGain) [best, bestGain] = [layer, gain];
  }
  return best;
}

/** Missed mass at a rank: exponential through the probe's first and last point. */
export function expectedMiss({ points }: RankProbe, rank: number): number {
  const first = points[0]!;
  const last = points.at(-1)!;
  if (first.missedMass === 0) return 0;
  // A probe too short to see a gain still must not see a loss: then the layer gains a little, last of all.
  const ratio = Math.min(0.98, Math.max(1e-4, last.missedMass / first.missedMass));
  return first.missedMass * ratio ** ((rank - first.rank) / (last.rank - first.rank));
}
