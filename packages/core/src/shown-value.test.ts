import { expect, it } from "vitest";
import { showValue } from "./shown-value.js";

it("shows a small value as JSON", () => {
  for (const value of [1, "a\n", null, true, [1, "b", null], { type: "linear", factor: 2 }]) {
    expect(showValue(value)).toBe(JSON.stringify(value));
  }
  expect(showValue(undefined)).toBe("nothing");
});

it("a value that nests too deep for JSON.stringify is shown, not an exhausted stack", () => {
  const deep: unknown = JSON.parse("[".repeat(200_000) + "]".repeat(200_000));
  expect(() => JSON.stringify(deep)).toThrow(RangeError);
  expect(showValue(deep)).toBe('[[["…"]]]');
});

it("a value without end is cut short", () => {
  expect(showValue("x".repeat(1e6))).toHaveLength(161);
  expect(showValue(new Array(1e6).fill(0))).toBe(`[${"0,".repeat(16)}"…"]`);
  expect(showValue(Object.fromEntries(Array.from({ length: 1e4 }, (_, i) => [`k${i}`, i]))).length).toBeLessThan(170);
});
