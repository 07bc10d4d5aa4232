import { Random } from "@flashwick/core";
import { expect, it } from "vitest";
import { shuffledIndices, trainerRandom } from "./random.js";

it("purposes tell generators apart", () => {
  expect(trainerRandom("w1", 7, 3).next()).not.toBe(trainerRandom("w2", 7, 3).next());
});

it("shuffledIndices is a permutation, the same for the same generator", () => {
  const order = shuffledIndices(100, new Random(1, 2));
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect([...order]).not.toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(shuffledIndices(100, new Random(1, 2))).toEqual(order);
  expect(shuffledIndices(100, new Random(1, 3))).not.toEqual(order);
});
