import { expect, it } from "vitest";
import { Random } from "./random.js";

it("gives the words of xoshiro128** 1.1, as its authors' C source does from the state 1, 2, 3, 4", () => {
  const random = Random.fromState([1, 2, 3, 4]);
  expect(Array.from({ length: 5 }, () => random.next())).toEqual([11520, 0, 5927040, 70819200, 2031721883]);
});

it("names tell generators apart", () => {
  const names = [[0], [1], [0, 0], [0, 1], [1, 0]];
  const first = names.map((name) => new Random(...name).next());
  expect(new Set(first).size).toBe(names.length);
});

it("uniform and below stay in range and reach both ends", () => {
  const random = new Random(3);
  const values = Array.from({ length: 2000 }, () => random.uniform());
  expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...values)).toBeLessThan(1);
  const mean = values.reduce((a, b) => a + b) / values.length;
  expect(Math.abs(mean - 0.5)).toBeLessThan(0.03);
  expect(new Set(Array.from({ length: 200 }, () => random.below(5)))).toEqual(new Set([0, 1, 2, 3, 4]));
});
