import { findSparsityFault, Random } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { SparsityTally } from "./sparsity-tally.js";

/** s_agg(k) as the paper defines it: the mean size of the union of k consecutive sets. */
function obviousUnion(sets: readonly (readonly number[])[], k: number): number {
  let sum = 0;
  for (let t = 0; t + k <= sets.length; t++) sum += new Set(sets.slice(t, t + k).flat()).size;
  return sum / (sets.length - k + 1);
}

function randomSets(count: number, dFf: number, random: Random): number[][] {
  return Array.from({ length: count }, () =>
    Array.from({ length: dFf }, (_, n) => n).filter((n) => random.uniform() < 0.5 / (1 + n)),
  );
}

describe("SparsityTally", () => {
  it("counts by hand: three tokens", () => {
    const tally = new SparsityTally(1, 10);
    for (const set of [
      [0, 1],
      [1, 2],
      [0, 5],
    ])
      tally.add(0, set, 1);
    const { layers, unionTokens, clumping } = tally.statistics("hand", [1, 2, 3]);
    expect(unionTokens).toEqual([1, 2]);
    // After one token: {2}, {0, 5}. After two: {5}.
    expect(layers[0]!.freshShare).toEqual([0.15, 0.1]);
    expect(layers[0]!.unionShare[0]).toBeCloseTo(0.2, 12);
    expect(layers[0]!.unionShare[1]).toBeCloseTo(0.35, 12);
    expect(layers[0]!.activeShare).toBeCloseTo(0.1, 12);
    // Six neurons of ten in four runs, where chance has 3 x 1.6.
    expect(clumping).toBeCloseTo(4.8 / 4, 12);
  });

  it("agrees with unions of sets on a long sequence", () => {
    const sets = randomSets(3000, 60, new Random(3));
    const tally = new SparsityTally(1, 60);
    for (const set of sets) tally.add(0, set);
    const { layers } = tally.statistics("random", [1, 2, 4, 16, 64]);
    for (const [i, k] of [1, 2, 4, 16, 64].entries()) {
      const expected = obviousUnion(sets, k);
      expect(Math.abs(layers[0]!.unionShare[i]! * 60 - expected)).toBeLessThan(0.02 * expected);
    }
    expect(layers[0]!.activeShare).toBeNull();
  });

  it("forgets a sequence when the next begins", () => {
    const tally = new SparsityTally(1, 4);
    tally.add(0, [1]);
    tally.begin();
    tally.add(0, [1]);
    tally.add(0, [1]);
    expect(tally.statistics("two", [1]).layers[0]!.freshShare).toEqual([0]);
  });

  it("gives sane statistics, whatever was named", () => {
    const tally = new SparsityTally(2, 8);
    for (let t = 0; t < 120; t++) {
      tally.add(0, []);
      tally.add(1, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
    const statistics = tally.statistics("extremes", [1, 2, 3, 100]);
    expect(findSparsityFault(statistics, 2)).toBeNull();
    expect(statistics.namedQuantiles).toEqual({ p50: 1, p90: 1, p99: 1 });
  });
});
