/**
 * Activation vectors, made ready for rows of one dtype, in a thread's own scratch:
 * f32 as they are; f16 and bf16 in even/odd order, f16 also times 2^64; int8 as 12-bit integers, scales in front.
 */
import { BF16, F16, F32 } from "./element";

/**
 * Scale of vectors that meet halves: half the way between 2^112, at which |x| ≥ 2^16 would overflow, and what small
 * products need. A sum is then 2^-48 times its value.
 */
const HALF_VECTOR_FACTOR: f32 = reinterpret<f32>(0x5f800000);
/** What brings such a sum back: 2^48. */
export const HALF_SUM_FACTOR: f32 = reinterpret<f32>(0x57800000);

/** |q| of quantised activations: 12 bits. */
const ACTIVATION_MOST: f32 = 4095;

@inline
export function padded(n: usize): usize {
  return (n + 15) & ~15;
}

/** Bytes in front of the vectors in scratch: one f32 scale for each, int8 only. */
@inline
function scaleBytes(nTokens: usize): usize {
  return (4 * nTokens + 15) & ~15;
}

/** See `Kernels.scratchBytes`. */
export function scratchBytes(cols: usize, nTokens: usize): usize {
  return scaleBytes(nTokens) + 4 * padded(cols) * nTokens;
}

/** Prepares `nTokens` vectors and returns where they are, {@link vectorStride} apart. */
export function prepareVectors(scratch: usize, x: usize, dtype: i32, cols: usize, nTokens: usize): usize {
  if (dtype == F32) return x;
  const width = padded(cols);
  const vectors = scratch + scaleBytes(nTokens);
  if (dtype == F16 || dtype == BF16) {
    splitEvenOdd(vectors, x, width * nTokens, dtype == F16 ? HALF_VECTOR_FACTOR : 1);
    return vectors;
  }
  for (let t: usize = 0; t < nTokens; t++) {
    const scale = quantise<i16>(vectors + 2 * width * t, x + 4 * width * t, width, ACTIVATION_MOST);
    store<f32>(scratch + 4 * t, scale);
  }
  return vectors;
}

@inline
export function vectorStride(dtype: i32, cols: usize): usize {
  return padded(cols) * (dtype > BF16 ? 2 : 4);
}

/** Scale of vector t; int8. */
@inline
export function vectorScale(scratch: usize, t: usize): f32 {
  return load<f32>(scratch + 4 * t);
}

/** Every eight elements as 0 2 4 6 1 3 5 7, times a power of two. */
function splitEvenOdd(out: usize, x: usize, count: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  const end = x + 4 * count;
  for (; x < end; x += 32) {
    const a = v128.load(x), b = v128.load(x, 16);
    v128.store(out, f32x4.mul(v128.shuffle<f32>(a, b, 0, 2, 4, 6), f));
    v128.store(out, f32x4.mul(v128.shuffle<f32>(a, b, 1, 3, 5, 7), f), 16);
    out += 32;
  }
}

/**
 * q = x / scale to the nearest integer, ties to even, within ±most; scale = fl(max|x| / most), which is returned.
 * If the scale is zero or not finite, q is zero: a NaN or infinity then shows through the scale.
 *
 * @param q Integers T, `count` of them; @param count A multiple of 4.
 */
export function quantise<T>(q: usize, x: usize, count: usize, most: f32): f32 {
  const scale = largestMagnitude(x, count) / most;
  if (!(scale > 0 && scale < Infinity)) {
    memory.fill(q, 0, count * sizeof<T>());
    return scale;
  }
  const s = f32x4.splat(scale), high = f32x4.splat(most), low = f32x4.splat(-most);
  for (let k: usize = 0; k < count; k += 4) {
    const r = f32x4.nearest(f32x4.div(v128.load(x + 4 * k), s));
    const i = i32x4.trunc_sat_f32x4_s(f32x4.max(f32x4.min(r, high), low));
    const words = i16x8.narrow_i32x4_s(i, i);
    if (sizeof<T>() == 2) v128.store64_lane(q + 2 * k, words, 0);
    else v128.store32_lane(q + k, i8x16.narrow_i16x8_s(words, words), 0);
  }
  return scale;
}

/** max |x[k]|; NaN if any is. */
export function largestMagnitude(x: usize, count: usize): f32 {
  let m = f32x4.splat(0);
  for (const end = x + 4 * count; x < end; x += 16) m = f32x4.max(m, f32x4.abs(v128.load(x)));
  return max<f32>(
    max<f32>(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)),
    max<f32>(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)),
  );
}
