import { describe, expect, it } from "vitest";
import { expectedMiss, planRanks, probeRanks, type RankProbe, rankLadder } from "./rank-plan.js";

const probe = (layer: number, at16: number, at32: number, massPerToken = 1): RankProbe => ({
  layer,
  points: [
    { rank: 16, missedMass: at16 },
    { rank: 32, missedMass: at32 },
  ],
  massPerToken,
});

/** 8 layers of dModel 256, dFf 1024: one unit of rank everywhere is 10,240 weights. */
const BUDGET = { dModel: 256, dFf: 1024, modelParameters: 7_630_000 };

describe("planRanks", () => {
  it("stays within the budget and nearly spends it", () => {
    const probes = Array.from({ length: 8 }, (_, l) => probe(l, 0.2 / (l + 1), 0.1 / (l + 1)));
    const ranks = planRanks(probes, BUDGET);
    const share = (ranks.reduce((a, b) => a + b, 0) * 1280) / BUDGET.modelParameters;
    expect(share).toBeLessThanOrEqual(0.055);
    expect(share).toBeGreaterThan(0.05);
  });

  it("gives more to the layer that misses more", () => {
    const ranks = planRanks([probe(0, 0.3, 0.15), probe(1, 0.03, 0.015)], { ...BUDGET, modelParameters: 2_500_000 });
    expect(ranks[0]).toBeGreaterThan(ranks[1]!);
  });

  it("gives more to the layer whose output is larger", () => {
    const ranks = planRanks([probe(0, 0.2, 0.1, 1), probe(1, 0.2, 0.1, 10)], { ...BUDGET, modelParameters: 2_500_000 });
    expect(ranks[1]).toBeGreaterThan(ranks[0]!);
  });

  it("like layers differ by one rung at most", () => {
    const ranks = planRanks(
      Array.from({ length: 8 }, (_, l) => probe(l, 0.2, 0.1)),
      BUDGET,
    );
    expect(Math.max(...ranks) - Math.min(...ranks)).toBeLessThanOrEqual(8);
  });

  it("does not spend on a layer that misses nothing", () => {
    expect(planRanks([probe(0, 0, 0), probe(1, 0.2, 0.1)], BUDGET)[0]).toBe(rankLadder(256)[0]);
  });

  it("refuses a budget below the lowest rank everywhere, naming what would do", () => {
    expect(() => planRanks([probe(0, 0.2, 0.1)], { ...BUDGET, share: 0.001 })).toThrow(
      "0.1 % of the model, more than the 0.1 % allowed",
    );
  });
});

it("expectedMiss goes through the probe's points and falls", () => {
  const p = probe(0, 0.2, 0.1);
  expect(expectedMiss(p, 16)).toBeCloseTo(0.2, 12);
  expect(expectedMiss(p, 32)).toBeCloseTo(0.1, 12);
  expect(expectedMiss(p, 48)).toBeCloseTo(0.05, 12);
  // A probe that was too short to see a gain.
  expect(expectedMiss(probe(0, 0.1, 0.2), 64)).toBeLessThan(0.1);
});

it("ladders are ascending multiples of 8", () => {
  for (const dModel of [64, 128, 256, 768, 4096]) {
    const ladder = rankLadder(dModel);
    expect(ladder).toEqual([...new Set(ladder)].sort((a, b) => a - b));
    expect(ladder.every((rank) => rank % 8 === 0)).toBe(true);
  }
  expect(rankLadder(4096)[0]).toBe(128);
});

describe("probeRanks", () => {
  it("lie around the mean of the budget", () => {
    expect(probeRanks(8, BUDGET)).toEqual([32, 48]);
    expect(probeRanks(8, { ...BUDGET, share: 0.09 })).toEqual([48, 80]);
  });

  it("are two rungs of the ladder however small or large the budget", () => {
    expect(probeRanks(8, { ...BUDGET, share: 0.001 })).toEqual([8, 16]);
    expect(probeRanks(8, { ...BUDGET, share: 0.9 })).toEqual([96, 128]);
    expect(probeRanks(8, { ...BUDGET, ladder: [16, 24] })).toEqual([16, 24]);
  });
});
