import { decodeBfloat16, decodeFloat16 } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { elements } from "./checkpoint-fixture.js";
import { decodeElements, firstNonFinite, transposeColumns } from "./source-elements.js";

/** Every 16-bit pattern once. */
const patterns = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

describe("decodeElements", () => {
  it.each([
    ["f16", decodeFloat16],
    ["bf16", decodeBfloat16],
  ] as const)("decodes all 65536 patterns of %s exactly, NaN and infinities included", (dtype, decode) => {
    const out = new Float32Array(65536);
    decodeElements(dtype, new Uint8Array(patterns.buffer), out);
    expect(patterns.every((bits) => Object.is(out[bits], Math.fround(decode(bits))))).toBe(true);
  });

  it("copies f32 from any aligned place", () => {
    const raw = elements("f32", [9, 1.5, -2.25, Number.MIN_VALUE]);
    const out = new Float32Array(2);
    decodeElements("f32", raw.subarray(4, 12), out);
    expect([...out]).toEqual([1.5, -2.25]);
  });
});

describe("firstNonFinite", () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("finds %d", (value) => {
    expect(firstNonFinite(Float32Array.of(0, -3.4e38, value, value))).toBe(2);
  });

  it("passes the largest and smallest finite numbers", () => {
    expect(firstNonFinite(Float32Array.of(3.4028234e38, -3.4028234e38, 1e-45, 0, -0))).toBe(-1);
  });
});

describe("transposeColumns", () => {
  it.each(["f32", "f16", "bf16"] as const)(
    "gives the columns of %s, also where the tile of 16 rows does not fit",
    (dtype) => {
      const [rows, cols, firstCol, n] = [37, 11, 3, 5];
      const value = (row: number, col: number) => row - 4 * col; // exact in bfloat16
      const raw = elements(
        dtype,
        Array.from({ length: rows * cols }, (_, i) => value(Math.floor(i / cols), i % cols)),
      );
      const out = new Float32Array(n * rows).fill(Number.NaN);
      transposeColumns(dtype, raw, rows, cols, firstCol, new Float32Array(16 * n), out);
      const expected = Array.from({ length: n * rows }, (_, i) => value(i % rows, firstCol + Math.floor(i / rows)));
      expect([...out]).toEqual(expected);
    },
  );
});
