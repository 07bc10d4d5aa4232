/**
 * How far a correct backend may be from exact arithmetic.
 *
 * u = 2^-24 is the relative error of one f32 operation. A sum of n rounded products, in any order, is within
 * (n + 2)·u·Σ|terms| of the true one, to first order (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). Stored
 * f32, f16, bf16 and int8 elements are exact as f32, so one bound holds for all. int8 adds the rounding of the vector to 12
 * bits: half a step, max|x| / 4095 / 2, on each element. Blocks add half a step of each group of 32: max|x| / 16383 / 2, or max|x| / 127 / 2 where
 * vectors have eight bits.
 */
import { blocksOf, type DType, type RecordDType } from "@flashwick/core";
import { VECTOR_MOST } from "../reference/block-product.js";

export const UNIT_ROUNDOFF = 2 ** -24;
/** Relative error of the exponential: 2 units in the last place, and one for rounding the argument. */
export const EXP_ERROR = 6 * UNIT_ROUNDOFF;
/** Of the logistic function and of softplus: an exponential, a division, a few additions. */
export const SIGMOID_ERROR = 16 * UNIT_ROUNDOFF;
/** gelu(x), its tanh form and silu(x) are within |x| times this: error function to 1.2e-7, its exponent's argument rounded at up to |x|² / 2. */
export const SMOOTH_ERROR = 2 ** -20;

/** What a sum of n products may be off by. */
export function sumBound(n: number, sumOfMagnitudes: number): number {
  return (n + 2) * UNIT_ROUNDOFF * sumOfMagnitudes;
}

/** Bound of row · x + bias. */
export function productBound(dtype: RecordDType, row: Float64Array, x: Float64Array, bias: number): number {
  if (blocksOf(dtype)) return blockProductBound(row.map(Math.abs), x, bias);
  const bound = sumBound(row.length, magnitude(row, x) + Math.abs(bias));
  if (dtype !== "int8") return bound;
  const largest = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const rowSum = row.reduce((sum, w) => sum + Math.abs(w), 0);
  return bound + (rowSum * largest * (0.5 + 2 ** -10)) / 4095;
}

/** The same where rows are blocks; `magnitudes` are those of the row, `most` is |q| of the vector. */
export function blockProductBound(magnitudes: Float64Array, x: Float64Array, bias: number, most = VECTOR_MOST): number {
  let steps = 0;
  for (let k = 0; k < x.length; k += 32) {
    const largest = x.subarray(k, k + 32).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const sum = magnitudes.subarray(k, k + 32).reduce((total, w) => total + w, 0);
    steps += (sum * largest * (0.5 + 2 ** -9)) / most;
  }
  return sumBound(x.length, magnitude(magnitudes, x) + Math.abs(bias)) + steps;
}

export function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, k) => sum + value * b[k]!, 0);
}

/** Σ|a·b|. */
export function magnitude(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, k) => sum + Math.abs(value * b[k]!), 0);
}

/** The tolerance in words, for titles. */
export function productTolerance(dtype: DType, most = VECTOR_MOST): string {
  if (blocksOf(dtype)) return `(n+2)·2^-24·Σ|w·x| + Σ|w|·max|x|/${2 * most} by groups of 32, and the reference's bits`;
  return dtype === "int8" ? "(n+2)·2^-24·Σ|w·x| + Σ|w|·max|x|/8190" : "(n+2)·2^-24·Σ|w·x|";
}
