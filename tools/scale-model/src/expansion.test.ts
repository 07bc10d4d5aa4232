import { describe, expect, it } from "vitest";
import { cancellingFactors, expandRows, matrixOf, tiled, weighted } from "./expansion.js";

describe("expandRows", () => {
  it("gives any rows of the large matrix, each element by its row's and its column's factor", () => {
    const small = Float32Array.of(1, 2, 3, 4, 5, 6);
    const rows = weighted(tiled(2, 2), (i) => (i < 2 ? 1 : -1));
    const expansion = matrixOf(rows, tiled(3, 2, 0.5));
    const out = new Float32Array(12);
    expandRows(small, 3, expansion, 1, out);
    expect([...out]).toEqual([2, 2.5, 3, 2, 2.5, 3, -0.5, -1, -1.5, -0.5, -1, -1.5]);
  });
});

describe("cancellingFactors", () => {
  it("add up to nothing, and none of them is nothing", () => {
    for (let copies = 2; copies < 10; copies++) {
      const factors = cancellingFactors(copies);
      expect(factors.length).toBe(copies);
      expect(factors.reduce((sum, factor) => sum + factor, 0)).toBe(0);
      expect(factors.every((factor) => Math.log2(Math.abs(factor)) % 1 === 0)).toBe(true);
    }
  });
});
