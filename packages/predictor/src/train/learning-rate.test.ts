import { expect, it } from "vitest";
import { learningRate } from "./learning-rate.js";

const SCHEDULE = { peak: 1e-3, floor: 1e-5, warmupSteps: 10, totalSteps: 101 };

it("rises linearly, peaks at the end of the warm-up, and ends at the floor", () => {
  expect(learningRate(SCHEDULE, 0)).toBeCloseTo(1e-4, 12);
  expect(learningRate(SCHEDULE, 4)).toBeCloseTo(5e-4, 12);
  expect(learningRate(SCHEDULE, 10)).toBe(1e-3);
  expect(learningRate(SCHEDULE, 55)).toBeCloseTo((1e-3 + 1e-5) / 2, 12);
  expect(learningRate(SCHEDULE, 100)).toBeCloseTo(1e-5, 12);
});

it("never rises after the warm-up", () => {
  const rates = Array.from({ length: 91 }, (_, i) => learningRate(SCHEDULE, 10 + i));
  for (let i = 1; i < rates.length; i++) expect(rates[i]).toBeLessThanOrEqual(rates[i - 1]!);
});

it("a training of one step has the peak rate", () => {
  expect(learningRate({ peak: 1, floor: 0, warmupSteps: 0, totalSteps: 1 }, 0)).toBe(1);
});
