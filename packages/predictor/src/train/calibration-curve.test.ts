import { describe, expect, it } from "vitest";
import {
  accumulateCurve,
  binOfScore,
  type CalibrationCurve,
  CURVE_BINS,
  missedMassAt,
  qualityAt,
  recallAt,
  thresholdOfBin,
} from "./calibration-curve.js";

/** A curve from scores given by hand: [score, mass], mass 0 for inactive neurons. */
export function curveOf(
  tokens: number,
  dFf: number,
  neurons: readonly (readonly [number, number])[],
): CalibrationCurve {
  const sums = {
    counts: new Float64Array(CURVE_BINS),
    hits: new Float64Array(CURVE_BINS),
    hitMass: new Float64Array(CURVE_BINS),
  };
  for (const [score, mass] of neurons) {
    sums.counts[binOfScore(score)]!++;
    if (mass === 0) continue;
    sums.hits[binOfScore(score)]!++;
    sums.hitMass[binOfScore(score)]! += mass;
  }
  const masses = neurons.map(([, mass]) => mass).filter((mass) => mass > 0);
  return { tokens, dFf, active: masses.length, mass: masses.reduce((a, b) => a + b, 0), ...sums };
}

describe("bins", () => {
  it("a threshold names exactly the bins from its own on: what is strictly above", () => {
    for (const bin of [1, 2, 1000, 4097, CURVE_BINS - 1]) {
      const edge = thresholdOfBin(bin);
      expect(Math.fround(edge)).toBe(edge);
      expect(binOfScore(edge)).toBe(bin - 1);
      expect(binOfScore(edge + 1e-6)).toBe(bin);
    }
  });

  it("scores beyond the grid, infinite ones and NaN have a bin", () => {
    expect(binOfScore(-1e9)).toBe(0);
    expect(binOfScore(Number.NEGATIVE_INFINITY)).toBe(0);
    expect(binOfScore(Number.NaN)).toBe(0);
    expect(binOfScore(40)).toBe(CURVE_BINS - 1);
    expect(binOfScore(Number.POSITIVE_INFINITY)).toBe(CURVE_BINS - 1);
    expect(thresholdOfBin(0)).toBe(Number.NEGATIVE_INFINITY);
  });
});

const CURVE = curveOf(2, 4, [
  [3, 8],
  [1, 0],
  [0.5, 4],
  [-1, 0],
  [-2, 3],
  [-3, 0],
  [-40, 1],
  [-50, 0],
]);

it("accumulates from the top", () => {
  const { named, hits, missed } = accumulateCurve(CURVE);
  const at = (threshold: number) => {
    const bin = binOfScore(threshold) + 1;
    return [named[bin], hits[bin], missed[bin]];
  };
  expect(at(3)).toEqual([0, 0, 16]);
  expect(at(2)).toEqual([1, 1, 8]);
  expect(at(0)).toEqual([3, 2, 4]);
  expect(at(-10)).toEqual([6, 3, 1]);
  expect([named[0], hits[0], missed[0]]).toEqual([8, 4, 0]);
});

it("quality is counted, at a bin's threshold", () => {
  const bin = binOfScore(0) + 1;
  expect(qualityAt(CURVE, bin, 5, 32)).toEqual({
    layer: 5,
    rank: 32,
    threshold: 0,
    trueActiveShare: 0.5,
    namedShare: 3 / 8,
    recall: 0.5,
    precision: 2 / 3,
    missedMass: 4 / 16,
  });
});

it("a layer that is never active misses nothing", () => {
  const silent = curveOf(1, 2, [
    [-1, 0],
    [-2, 0],
  ]);
  expect(qualityAt(silent, CURVE_BINS - 1, 0, 8)).toMatchObject({
    recall: 1,
    precision: 1,
    missedMass: 0,
    namedShare: 0,
  });
  expect(missedMassAt(silent, 2)).toBe(0);
  expect(recallAt(silent, 2)).toBe(1);
});

it("missed mass at a ratio lies between the points of the curve", () => {
  // 4 active: ratio 0.25 names 1, 0.75 names 3, 0.5 lies half way.
  expect(missedMassAt(CURVE, 0.25)).toBe(8 / 16);
  expect(missedMassAt(CURVE, 0.75)).toBe(4 / 16);
  expect(missedMassAt(CURVE, 2)).toBe(0);
  expect(missedMassAt(CURVE, 0)).toBe(1);
  expect(missedMassAt(CURVE, 0.125)).toBe(12 / 16);
  expect(recallAt(CURVE, 2)).toBe(1);
  expect(recallAt(CURVE, 0)).toBe(0);
  expect(recallAt(CURVE, 0.25)).toBeGreaterThan(recallAt(CURVE, 0.125));
});
