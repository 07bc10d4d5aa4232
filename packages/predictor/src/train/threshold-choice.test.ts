import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { accumulateCurve, binOfScore, type CalibrationCurve, CURVE_BINS } from "./calibration-curve.js";
import { chooseThresholdBins } from "./threshold-choice.js";

/** One token, scores on a coarse grid so that brute force can try every threshold. */
function curve(neurons: readonly { readonly score: number; readonly mass: number }[]): CalibrationCurve {
  const zeros = () => new Float64Array(CURVE_BINS);
  const [counts, hits, hitMass] = [zeros(), zeros(), zeros()];
  let active = 0;
  let total = 0;
  for (const { score, mass } of neurons) {
    const bin = binOfScore(score);
    counts[bin]!++;
    if (mass === 0) continue;
    hits[bin]!++;
    hitMass[bin]! += mass;
    active++;
    total += mass;
  }
  return { tokens: 1, dFf: neurons.length, active, mass: total, counts, hits, hitMass };
}

const layer = fc
  .array(fc.record({ score: fc.integer({ min: -4, max: 4 }), mass: fc.integer({ min: 0, max: 9 }) }), {
    minLength: 1,
    maxLength: 12,
  })
  .map(curve);

/** Sum over the layers of what bins name and miss. */
function totals(curves: readonly CalibrationCurve[], bins: readonly number[], weights: readonly number[]) {
  let named = 0;
  let missed = 0;
  for (const [l, c] of curves.entries()) {
    const above = accumulateCurve(c);
    named += above.named[bins[l]!]!;
    missed += weights[l]! * above.missed[bins[l]!]!;
  }
  return { named, missed };
}

/** Every distinct threshold of a layer on the coarse grid. */
const GRID = [CURVE_BINS - 1, ...Array.from({ length: 9 }, (_, i) => binOfScore(4 - i))];

describe("chooseThresholdBins", () => {
  it("names no more than allowed, and within that no choice with as many neurons misses less", () => {
    fc.assert(
      fc.property(fc.tuple(layer, layer), fc.double({ min: 0, max: 4, noNaN: true }), (curves, ratio) => {
        const weights = [1, 2];
        const chosen = totals(curves, chooseThresholdBins(curves, ratio, weights), weights);
        const budget = ratio * curves.reduce((sum, { active }) => sum + active, 0);
        expect(chosen.named).toBeLessThanOrEqual(Math.max(budget, totals(curves, [GRID[0]!, GRID[0]!], weights).named));
        // Lagrange is exact at the hull's corners; elsewhere it is at most one segment behind, so it is compared with
        // half of what it may name.
        for (const a of GRID) {
          for (const b of GRID) {
            const other = totals(curves, [a, b], weights);
            if (other.named <= chosen.named - 12) expect(chosen.missed).toBeLessThanOrEqual(other.missed + 1e-9);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it("spends where a neuron saves most, and the weights count", () => {
    const rich = curve([{ score: 2, mass: 8 }, { score: 1, mass: 6 }, { score: 0, mass: 1 }]);
    const poor = curve([{ score: 2, mass: 3 }, { score: 1, mass: 2 }, { score: 0, mass: 1 }]);
    const named = (ratio: number, weights: number[]) => {
      const bins = chooseThresholdBins([rich, poor], ratio, weights);
      return bins.map((bin, l) => accumulateCurve([rich, poor][l]!).named[bin]);
    };
    expect(named(2 / 6, [1, 1])).toEqual([2, 0]);
    expect(named(4 / 6, [1, 1])).toEqual([2, 2]);
    expect(named(2 / 6, [1, 10])).toEqual([0, 2]);
  });

  it("spends what is left in the layer whose turn it is", () => {
    const only = curve([
      { score: 3, mass: 1 },
      { score: 2, mass: 0 },
      { score: 1, mass: 0 },
      { score: 0, mass: 9 },
    ]);
    const [bin] = chooseThresholdBins([only], 1.5, [1]);
    expect(accumulateCurve(only).named[bin!]).toBe(3);
  });

  it("with neurons enough, misses nothing", () => {
    const curves = [curve([{ score: -40, mass: 1 }, { score: 1, mass: 0 }])];
    expect(chooseThresholdBins(curves, 2, [1])).toEqual([0]);
  });
});
