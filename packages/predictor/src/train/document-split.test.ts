import { expect, it } from "vitest";
import { isHeldOut } from "./document-split.js";

it("holds out one document of every twenty, the first among them", () => {
  const held = Array.from({ length: 2000 }, (_, document) => document).filter((document) => isHeldOut(document, 1));
  expect(held[0]).toBe(0);
  expect(held.map((document) => Math.floor(document / 20))).toEqual(Array.from({ length: 100 }, (_, group) => group));
});

it("the places within groups vary, and with the seed", () => {
  const places = (seed: number) =>
    Array.from({ length: 400 }, (_, document) => document)
      .filter((document) => isHeldOut(document, seed))
      .map((document) => document % 20);
  expect(new Set(places(1)).size).toBeGreaterThan(5);
  expect(places(1)).not.toEqual(places(2));
  expect(places(1)).toEqual(places(1));
});
