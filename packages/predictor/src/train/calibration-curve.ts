/**
 * What a layer's threshold buys: for every threshold on a fine grid, how many neurons it names, how many of them are truly
 * active, and how much output mass those carry. Counted on held-out tokens, with the weights as stored.
 *
 * The grid: bin 0 holds scores up to -32; bin b > 0 holds scores in (edge(b), edge(b + 1)] with edge(b) = -32 + (b - 1)/128,
 * the last one everything above. Edges are exact in f32, and `selectAbove` names what is strictly above, so at a threshold
 * that is an edge the figures of a curve are exact counts, no estimates.
 *
 * Output mass of an active neuron: |activation| · ‖its down column‖, what the FFN's output loses at most without it.
 */
import type { PredictorQuality } from "@flashwick/core";

const LOWEST = -32;
const BINS_PER_UNIT = 128;
/** Bins of a curve: scores beyond ±32 are as sure as at ±32. */
export const CURVE_BINS = 64 * BINS_PER_UNIT + 1;

/** Plain data: sums over the held-out tokens, by bin of the score. */
export interface CalibrationCurve {
  readonly tokens: number;
  readonly dFf: number;
  /** Truly active neurons, summed over tokens. */
  readonly active: number;
  /** Output mass of all active neurons. */
  readonly mass: number;
  /** Neurons by score. */
  readonly counts: Float64Array;
  /** Truly active ones by score. */
  readonly hits: Float64Array;
  /** Output mass of the truly active ones by score. */
  readonly hitMass: Float64Array;
}

/** What naming above a bin's lower edge comes to; index = bin. All fall from bin 0 (everything) to the last. */
export interface NamedAbove {
  readonly named: Float64Array;
  readonly hits: Float64Array;
  /** Output mass of active neurons that are not named. */
  readonly missed: Float64Array;
}

/** The bin of a score. */
export function binOfScore(score: number): number {
  const bin = Math.ceil((score - LOWEST) * BINS_PER_UNIT);
  // Written so that NaN, which is never above a threshold, lands in bin 0.
  return bin > 0 ? Math.min(bin, CURVE_BINS - 1) : 0;
}

/** The threshold that names exactly the bins from `bin` on: its lower edge. */
export function thresholdOfBin(bin: number): number {
  return bin === 0 ? Number.NEGATIVE_INFINITY : LOWEST + (bin - 1) / BINS_PER_UNIT;
}

/** Cumulates a curve from the top. */
export function accumulateCurve(curve: CalibrationCurve): NamedAbove {
  const named = sumsFromTop(curve.counts);
  const hits = sumsFromTop(curve.hits);
  const missed = sumsFromBottom(curve.hitMass);
  return { named, hits, missed };
}

/** Share of the output mass that is missed when `namedPerActive` times as many neurons are named as are active; interpolated. */
export function missedMassAt(curve: CalibrationCurve, namedPerActive: number): number {
  if (curve.mass === 0) return 0;
  const above = accumulateCurve(curve);
  return interpolate(above.missed, above.named, namedPerActive * curve.active) / curve.mass;
}

/** Share of the active neurons that are named then; interpolated. */
export function recallAt(curve: CalibrationCurve, namedPerActive: number): number {
  if (curve.active === 0) return 1;
  const above = accumulateCurve(curve);
  return interpolate(above.hits, above.named, namedPerActive * curve.active) / curve.active;
}

/** What `values` would be where `target` neurons are named. */
function interpolate(values: Float64Array, named: Float64Array, target: number): number {
  let bin = CURVE_BINS - 1;
  while (bin > 0 && named[bin]! < target) bin--;
  if (bin === CURVE_BINS - 1) return values[bin]!;
  const span = named[bin]! - named[bin + 1]!;
  const part = span === 0 ? 0 : Math.min(1, Math.max(0, (target - named[bin + 1]!) / span));
  return values[bin + 1]! + part * (values[bin]! - values[bin + 1]!);
}

/** The quality at a bin's threshold; `layer` and `rank` are carried through. */
export function qualityAt(curve: CalibrationCurve, bin: number, layer: number, rank: number): PredictorQuality {
  const { named, hits, missed } = accumulateCurve(curve);
  const all = curve.tokens * curve.dFf;
  return {
    layer,
    rank,
    threshold: thresholdOfBin(bin),
    trueActiveShare: curve.active / all,
    namedShare: named[bin]! / all,
    // With nothing to find, nothing is missed; with nothing named, nothing is named in vain.
    recall: curve.active === 0 ? 1 : hits[bin]! / curve.active,
    precision: named[bin] === 0 ? 1 : hits[bin]! / named[bin]!,
    missedMass: curve.mass === 0 ? 0 : missed[bin]! / curve.mass,
  };
}

/** out[b] = values[b] + values[b + 1] + … */
function sumsFromTop(values: Float64Array): Float64Array {
  const sums = new Float64Array(values.length);
  let sum = 0;
  for (let b = values.length - 1; b >= 0; b--) sums[b] = sum += values[b]!;
  return sums;
}

/** out[b] = values[0] + … + values[b − 1]: what is not named at bin b. */
function sumsFromBottom(values: Float64Array): Float64Array {
  const sums = new Float64Array(values.length);
  let sum = 0;
  for (let b = 0; b < values.length; b++) {
    sums[b] = sum;
    sum += values[b]!;
  }
  return sums;
}
