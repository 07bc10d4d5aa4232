/** Vectors as 12-bit integers, seen through an int8 identity matrix: the integers are exact, so every bit must be the reference's. */
import { Arena, type Kernels, type Matrix } from "@flashwick/kernels";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import { createWasmKernels } from "./wasm-kernels.js";

const COLS = 32;
/** The smallest positive f32. */
const LEAST = 2 ** -149;

/** `x` after quantisation, times its scale. */
function quantised(kernels: Kernels, x: readonly number[]): Float32Array {
  const { arena } = kernels;
  const [data, scales] = [arena.allocate(COLS * COLS + 64, 64), arena.allocate(4 * COLS, 64)];
  for (let i = 0; i < COLS; i++) arena.u8(data, COLS * COLS)[i * (COLS + 1)] = 1;
  arena.f32(scales, COLS).fill(1);
  const [vector, out] = [arena.allocate(4 * COLS, 64), arena.allocate(4 * COLS, 64)];
  arena.f32(vector, COLS).set(x);
  const matrix: Matrix = { dtype: "int8", data, scales, rows: COLS, cols: COLS };
  kernels.linear(out, vector, matrix, 0, 1, arena.allocate(kernels.scratchBytes(COLS, 1), 64));
  return arena.f32(out, COLS).slice();
}

const vectors: Readonly<Record<string, readonly number[]>> = {
  "ties go to the even integer": [4095, 0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, -4094.5, 4093.5],
  "values beside a tie go to the nearest": [-4095, 0.49999997, 0.50000006, 1.4999999, 1.5000001, -2047.5001],
  "every step of the scale": Array.from({ length: COLS }, (_, i) => Math.sin(i * i) / 3),
  "zeros of either sign": [0, -0],
  "a scale that rounds to the smallest f32 is clamped": [6000 * LEAST, -6142 * LEAST, 4095 * LEAST, LEAST],
  "a scale that rounds to zero gives zeros": [2000 * LEAST, -LEAST],
  "infinity shows through the scale": [1, Number.POSITIVE_INFINITY, 2],
  "NaN shows through the scale": [1, Number.NEGATIVE_INFINITY, Number.NaN, 2],
};

describe("a vector beside int8 rows has the reference's integers", () => {
  for (const [title, x] of Object.entries(vectors)) {
    it(title, () => {
      const found = quantised(createWasmKernels(new Arena(2 ** 18)), x);
      expect(found).toEqual(quantised(createReferenceKernels(new Arena(2 ** 18)), x));
    });
  }

  it("the largest magnitude becomes 4095", () => {
    expect(quantised(createWasmKernels(new Arena(2 ** 18)), [4095, -3, 0.5])).toEqual(
      Float32Array.from({ length: COLS }, (_, i) => [4095, -3, 0][i] ?? 0),
    );
  });
});
