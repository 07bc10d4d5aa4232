import { encodeFloat16 } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { Arena } from "../arena.js";
import type { Kernels } from "../contract.js";
import { createReferenceKernels } from "./reference-kernels.js";

/** One row of one Q8_0 block, its scale 1/4, times x. */
function product(kernels: Kernels, weights: readonly number[], x: readonly number[]): number {
  const { arena } = kernels;
  const [data, vector, out] = [arena.allocate(34 + 64), arena.allocate(4 * 32), arena.allocate(64)];
  const bits = encodeFloat16(0.25);
  arena.u8(data, 2).set([bits & 255, bits >> 8]);
  new Int8Array(arena.memory.buffer, data + 2, 32).set(weights);
  arena.f32(vector, 32).set(x);
  kernels.linear(out, vector, { dtype: "q8_0", data, scales: 0, rows: 1, cols: 32 }, 0, 1, 0);
  return arena.f32(out, 1)[0]!;
}

describe("a row of blocks", () => {
  const kernels = createReferenceKernels(new Arena(2 ** 18));

  it("has the exact product where x is a whole number of steps", () => {
    expect(product(kernels, [3, -128, 127], [16383, 1, -2])).toBe((3 * 16383 - 128 - 2 * 127) / 4);
  });

  it("rounds x to steps of max|x| / 16383, ties to even", () => {
    expect(product(kernels, [0, 4, 8, 16], [16383, 0.5, 1.5, -2.5])).toBe(8 * 2 * 0.25 - 16 * 2 * 0.25);
  });

  it("keeps what is not finite in x", () => {
    expect(product(kernels, [0, 1], [1, Number.NaN])).toBeNaN();
    expect(product(kernels, [1, 1], [Number.POSITIVE_INFINITY, 1])).toBeNaN();
  });

  it("of zeros is zero", () => {
    expect(product(kernels, [1, 2, 3], [0, -0])).toBe(0);
  });
});
