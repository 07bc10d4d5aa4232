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

/** Every distinct threshold of a layer on the coarse grid. */
const GRID = [CURVE_BINS - 1, ...Array.from({ length: 9 }, (_, i) => binOfScore(4 - i))];

/** What each bin of a layer names and misses. */
function pointsOf(c: CalibrationCurve, bins: readonly number[]) {
  const { named, missed } = accumulateCurve(c);
  return bins.map((bin) => ({ named: named[bin]!, missed: missed[bin]! }));
}

describe("chooseThresholdBins", () => {
  it("wherever a price per neuron says how many to name, names no more and misses no more than by that price", () => {
    fc.assert(
      fc.property(fc.tuple(layer, layer, layer), fc.double({ min: 0.01, max: 9, noNaN: true }), (curves, price) => {
        // With a price, layers are independent: brute force takes each layer's cheapest point.
        const best = curves.map((c) => {
          const cost = (p: { named: number; missed: number }) => p.missed + price * p.named;
          return pointsOf(c, GRID).reduce((a, b) => (cost(b) < cost(a) ? b : a));
        });
        const named = best.reduce((sum, p) => sum + p.named, 0);
        const missed = best.reduce((sum, p) => sum + p.missed, 0);
        const active = curves.reduce((sum, c) => sum + c.active, 0);
        fc.pre(active > 0);
        const bins = chooseThresholdBins(curves, (named + 0.5) / active);
        const chosen = curves.map((c, l) => pointsOf(c, [bins[l]!])[0]!);
        expect(chosen.reduce((sum, p) => sum + p.named, 0)).toBeLessThanOrEqual(named);
        expect(chosen.reduce((sum, p) => sum + p.missed, 0)).toBeLessThanOrEqual(missed + 1e-9);
      }),
      { numRuns: 100 },
    );
  });

  it("spends where a neuron saves most, whichever layer it is in", () => {
    const rich = curve([
      { score: 2, mass: 8 },
      { score: 1, mass: 6 },
      { score: 0, mass: 1 },
    ]);
    const poor = curve([
      { score: 2, mass: 3 },
      { score: 1, mass: 2 },
      { score: 0, mass: 1 },
    ]);
    const named = (ratio: number) => {
      const bins = chooseThresholdBins([rich, poor], ratio);
      return bins.map((bin, l) => accumulateCurve([rich, poor][l]!).named[bin]);
    };
    expect(named(2 / 6)).toEqual([2, 0]);
    expect(named(4 / 6)).toEqual([2, 2]);
  });

  it("spends what is left in the layer whose turn it is", () => {
    const only = curve([
      { score: 3, mass: 1 },
      { score: 2, mass: 0 },
      { score: 1, mass: 0 },
      { score: 0, mass: 9 },
    ]);
    const [bin] = chooseThresholdBins([only], 1.5);
    expect(accumulateCurve(only).named[bin!]).toBe(3);
  });

  it("with neurons enough, misses nothing", () => {
    const curves = [
      curve([
        { score: -40, mass: 1 },
        { score: 1, mass: 0 },
      ]),
    ];
    expect(chooseThresholdBins(curves, 2)).toEqual([0]);
  });
});
