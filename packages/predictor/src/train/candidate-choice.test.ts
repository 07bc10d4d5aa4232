import { Random } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { accumulateCurve, binOfScore, type CalibrationCurve, CURVE_BINS } from "./calibration-curve.js";
import { chooseCandidates } from "./candidate-choice.js";
import { chooseThresholdBins } from "./threshold-choice.js";

/** Active neurons score higher by `skill`, on average. */
function curve(seed: number, skill: number, share: number): CalibrationCurve {
  const random = new Random(seed);
  const counts = new Float64Array(CURVE_BINS);
  const hits = new Float64Array(CURVE_BINS);
  const hitMass = new Float64Array(CURVE_BINS);
  let [active, mass] = [0, 0];
  for (let i = 0; i < 4000; i++) {
    const isActive = random.uniform() < share;
    const bin = binOfScore((random.uniform() + random.uniform() - 1) * 4 + (isActive ? skill : 0));
    counts[bin]!++;
    if (!isActive) continue;
    const weight = random.uniform();
    hits[bin]!++;
    hitMass[bin]! += weight;
    active++;
    mass += weight;
  }
  return { tokens: 40, dFf: 100, active, mass, counts, hits, hitMass };
}

const named = (of: CalibrationCurve, bin: number) => accumulateCurve(of).named[bin]!;
const missed = (of: CalibrationCurve, bin: number) => accumulateCurve(of).missed[bin]!;

describe("chooseCandidates", () => {
  const curves = [curve(1, 3, 0.1), curve(2, 2, 0.03), curve(3, 4, 0.05)];

  it("with one candidate a layer misses no more than the hull's choice, but for less than a segment, and stays within the budget", () => {
    const ratio = 1.8;
    const hull = chooseThresholdBins(curves, ratio);
    const ours = chooseCandidates(
      curves.map((of) => [{ curve: of, bytes: 1 }]),
      { namedPerActive: ratio },
    );
    const sum = (of: (curve: CalibrationCurve, bin: number) => number, bins: readonly number[]) =>
      bins.reduce((total, bin, l) => total + of(curves[l]!, bin), 0);
    const bins = ours.map(({ bin }) => bin);
    const active = curves.reduce((total, of) => total + of.active, 0);
    expect(sum(named, bins)).toBeLessThanOrEqual(ratio * active);
    expect(sum(missed, bins)).toBeLessThanOrEqual(1.05 * sum(missed, hull));
  });

  it("spends bytes where they save most mass, within their budget", () => {
    const better = curve(1, 6, 0.1);
    const candidates = [
      [
        { curve: curves[0]!, bytes: 10 },
        { curve: better, bytes: 20 },
      ],
      [
        { curve: curves[2]!, bytes: 10 },
        { curve: curves[2]!, bytes: 20 },
      ],
    ];
    const pick = (maxBytes: number) =>
      chooseCandidates(candidates, { namedPerActive: 1.5, maxBytes }).map(({ candidate }) => candidate);
    expect(pick(20)).toEqual([0, 0]);
    expect(pick(30)).toEqual([1, 0]);
    expect(pick(1000)).toEqual([1, 0]);
  });

  it("a layer whose neurons cost nothing to read names everything; a dear one names less than at equal costs", () => {
    const candidates = curves.map((of) => [{ curve: of, bytes: 1 }]);
    const even = chooseCandidates(candidates, { namedPerActive: 1.5 });
    const uneven = chooseCandidates(candidates, { namedPerActive: 1.5, costs: [0, 1, 4] });
    expect(missed(curves[0]!, uneven[0]!.bin)).toBe(0);
    expect(named(curves[2]!, uneven[2]!.bin) / named(curves[1]!, uneven[1]!.bin)).toBeLessThan(
      named(curves[2]!, even[2]!.bin) / named(curves[1]!, even[1]!.bin),
    );
  });
});
