import { describe, expect, it } from "vitest";
import { alibiSlopes, rotaryTables } from "./position-tables.js";

describe("rotary tables", () => {
  it("turn by position · theta^(−2d / dims)", () => {
    const { cos, sin } = rotaryTables({ theta: 10_000, dims: 6, pairs: "halves", scaling: null }, 300);
    expect(cos.length).toBe(300 * 3);
    expect([...cos.subarray(0, 3), ...sin.subarray(0, 3)]).toEqual([1, 1, 1, 0, 0, 0]);
    for (const [position, d] of [
      [1, 0],
      [17, 1],
      [299, 2],
    ] as const) {
      const angle = position * 10_000 ** ((-2 * d) / 6);
      // Angles are f32: half a unit of 299.
      expect(cos[position * 3 + d]).toBeCloseTo(Math.cos(angle), 4);
      expect(sin[position * 3 + d]).toBeCloseTo(Math.sin(angle), 4);
    }
  });
});

describe("ALiBi slopes, twice as in the reference", () => {
  it("halve from head to head of eight", () => {
    expect([...alibiSlopes(8)]).toEqual([1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]);
  });
  it("beyond a power of two take every other one of the next finer sequence, in bfloat16", () => {
    // 2^-2, 2^-4, 2^-6, 2^-8, then 2^-1, 2^-3; of three heads the third is 2^-2.
    expect([...alibiSlopes(6)]).toEqual([0.5, 0.125, 0.03125, 0.0078125, 1, 0.25]);
    expect([...alibiSlopes(3)]).toEqual([0.125, 0.0078125, 0.5]);
    // 2^-0.5, rounded to eight bits of fraction: 0.70703125.
    expect(alibiSlopes(16)[0]).toBe(2 * 0.70703125);
  });
});
