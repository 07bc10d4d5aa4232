import { Random } from "@flashwick/core";
import { expect, it } from "vitest";
import { MagnitudeHistogram } from "./magnitude-histogram.js";
import { unitsAbove } from "./top-units.js";

it("a threshold leaves at most the share above it, and is at most a 64th of a doubling above the exact quantile", () => {
  const random = new Random(5);
  const values = Float32Array.from({ length: 50_000 }, () => (2 * random.uniform() - 1) ** 3);
  const magnitudes = values.map(Math.abs);
  const descending = magnitudes.toSorted().reverse();
  const histogram = new MagnitudeHistogram();
  for (let at = 0; at < values.length; at += 1000) histogram.add(values.subarray(at, at + 1000));
  for (const share of [0.01, 0.25, 0.5, 0.9]) {
    const threshold = histogram.threshold(share);
    expect(unitsAbove(magnitudes, threshold).length).toBeLessThanOrEqual(share * values.length);
    expect(threshold).toBeLessThanOrEqual(descending[share * values.length]! * 2 ** (1 / 64));
  }
});

it("zeros are below every threshold, and of zeros alone none is needed", () => {
  const histogram = new MagnitudeHistogram();
  histogram.add(Float32Array.of(0, -0, 0, 4));
  expect(histogram.threshold(0.25)).toBe(0);
  expect(histogram.threshold(0)).toBeGreaterThanOrEqual(4);
});
