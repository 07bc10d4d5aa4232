import { Random } from "@flashwick/core";
import { expect, it } from "vitest";
import { topUnits, unitsAbove } from "./top-units.js";

it("gives the set of a full sort, over a thousand random vectors with many equals", () => {
  const random = new Random(7);
  for (let round = 0; round < 1000; round++) {
    const n = 1 + random.below(40);
    const scores = Float32Array.from({ length: n }, () => random.below(1 + random.below(20)) / 4);
    const count = random.below(n + 2);
    const sorted = Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]! || a - b);
    const expected = sorted.slice(0, count).sort((a, b) => a - b);
    expect(Array.from(topUnits(scores, count))).toEqual(expected);
    expect(scores.length).toBe(n);
  }
});

it("a threshold is exceeded, not met", () => {
  expect(Array.from(unitsAbove(Float32Array.of(3, 1, 2, 1.5), 1.5))).toEqual([0, 2]);
});
