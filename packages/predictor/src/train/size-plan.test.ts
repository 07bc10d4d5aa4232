import { describe, expect, it } from "vitest";
import {
  expectedMiss,
  PLANNED_DTYPES,
  planProbe,
  planSizes,
  predictorSizeBytes,
  rankLadder,
  type SizeProbe,
} from "./size-plan.js";

/** Of int8; four bits miss `worse` times as much. */
const probe = (layer: number, at32: number, at64: number, massPerToken = 1, worse = 2): SizeProbe => ({
  layer,
  points: [
    { rank: 32, missedMass: { int8: at32, q4_0: worse * at32 } },
    { rank: 64, missedMass: { int8: at64, q4_0: worse * at64 } },
  ],
  massPerToken,
});

/** 8 layers of dModel 256, dFf 1024: rank 32 everywhere is 184 KB in q4_0 and 328 KB, without scales, in int8. */
const BUDGET = { dModel: 256, dFf: 1024, maxBytes: 600_000 };
const bytesOf = (sizes: ReturnType<typeof planSizes>) =>
  sizes.reduce((sum, size) => sum + predictorSizeBytes(size, BUDGET.dModel, BUDGET.dFf), 0);

describe("planSizes", () => {
  it.each([300_000, 600_000, 900_000])("stays within %d bytes and nearly spends them", (maxBytes) => {
    const probes = Array.from({ length: 8 }, (_, l) => probe(l, 0.2 / (l + 1), 0.1 / (l + 1)));
    const bytes = bytesOf(planSizes(probes, { ...BUDGET, maxBytes }));
    expect(bytes).toBeLessThanOrEqual(maxBytes);
    expect(bytes).toBeGreaterThan(0.9 * maxBytes);
  });

  it("gives more to the layer that misses more, and to the one whose output is larger", () => {
    const rankOf = (probes: SizeProbe[]) =>
      planSizes(probes, { ...BUDGET, maxBytes: 130_000, dtypes: ["int8"] }).map(({ rank }) => rank);
    const missing = rankOf([probe(0, 0.3, 0.15), probe(1, 0.03, 0.015)]);
    expect(missing[0]).toBeGreaterThan(missing[1]!);
    const larger = rankOf([probe(0, 0.2, 0.1, 1), probe(1, 0.2, 0.1, 10)]);
    expect(larger[1]).toBeGreaterThan(larger[0]!);
  });

  it("takes four bits where rank is worth more than exactness, and int8 where it is not", () => {
    // Rank 96 in four bits misses a fifth of what rank 64 in int8 does, in less.
    const ranksWanted = planSizes([probe(0, 0.2, 0.02, 1, 2)], { ...BUDGET, maxBytes: 90_000 });
    expect(ranksWanted).toEqual([{ rank: 96, dtype: "q4_0" }]);
    // Twice the rank gains a tenth; four bits lose nine.
    const bitsWanted = planSizes([probe(0, 0.02, 0.018, 1, 10)], { ...BUDGET, maxBytes: 90_000 });
    expect(bitsWanted[0]!.dtype).toBe("int8");
  });

  it("like layers differ by one rung of the ladder at most", () => {
    const probes = Array.from({ length: 8 }, (_, l) => probe(l, 0.2, 0.1));
    const sizes = planSizes(probes, { ...BUDGET, dtypes: ["int8"] });
    const rungs = sizes.map(({ rank }) => rankLadder(BUDGET.dModel).indexOf(rank));
    expect(Math.max(...rungs) - Math.min(...rungs)).toBeLessThanOrEqual(1);
  });

  it("does not spend on a layer that misses nothing", () => {
    const [first] = planSizes([probe(0, 0, 0), probe(1, 0.2, 0.1)], BUDGET);
    expect(first).toEqual({ rank: rankLadder(256)[0], dtype: "int8" });
  });

  it("refuses a budget below the lightest size everywhere, naming what would do", () => {
    expect(() => planSizes([probe(0, 0.2, 0.1)], { ...BUDGET, maxBytes: 1000 })).toThrow(
      "rank 8 in int8 in each of 1 layers takes 14368 bytes, more than the 1000 allowed",
    );
  });
});

it("expectedMiss goes through the probe's points and falls", () => {
  const p = probe(0, 0.2, 0.1);
  expect(expectedMiss(p, { rank: 32, dtype: "int8" })).toBeCloseTo(0.2, 12);
  expect(expectedMiss(p, { rank: 64, dtype: "int8" })).toBeCloseTo(0.1, 12);
  expect(expectedMiss(p, { rank: 96, dtype: "int8" })).toBeCloseTo(0.05, 12);
  expect(expectedMiss(p, { rank: 96, dtype: "q4_0" })).toBeCloseTo(0.1, 12);
  // A probe that was too short to see a gain.
  expect(expectedMiss(probe(0, 0.1, 0.2), { rank: 128, dtype: "int8" })).toBeLessThan(0.1);
});

it("ladders are ascending multiples of 8, and of 32 from dModel 1024 on", () => {
  for (const dModel of [64, 128, 256, 768, 1024, 4096, 4544]) {
    const ladder = rankLadder(dModel);
    expect(ladder).toEqual([...new Set(ladder)].sort((a, b) => a - b));
    expect(ladder.every((rank) => rank % (dModel >= 1024 ? 32 : 8) === 0)).toBe(true);
  }
  expect(rankLadder(4096)[0]).toBe(128);
});

describe("planProbe", () => {
  it("takes ranks around the mean of the budget, which every type can be stored at", () => {
    expect(planProbe(8, BUDGET)).toEqual({ ranks: [64, 128], dtypes: PLANNED_DTYPES });
    expect(planProbe(8, { ...BUDGET, dtypes: ["int8"] })).toEqual({ ranks: [40, 64], dtypes: ["int8"] });
  });

  it("takes two rungs of the ladder however small or large the budget", () => {
    expect(planProbe(8, { ...BUDGET, maxBytes: 1 }).ranks).toEqual([32, 64]);
    expect(planProbe(8, { ...BUDGET, maxBytes: 1e9 }).ranks).toEqual([96, 128]);
  });

  it("leaves a type out that the model's width, or the ladder, has no blocks for", () => {
    expect(planProbe(8, { ...BUDGET, dModel: 264 }).dtypes).toEqual(["int8"]);
    expect(planProbe(8, { ...BUDGET, dModel: 64, ladder: [8, 16, 32] }).dtypes).toEqual(["int8"]);
    const none = { ...BUDGET, dModel: 264, dtypes: ["q4_0" as const] };
    expect(() => planProbe(8, none)).toThrow("found a dModel of 264 and ranks of 8, 16, 24,");
  });
});
