/**
 * Activation vectors, made ready for rows of one dtype, in a thread's own scratch:
 * f32 as they are; f16 and bf16 in even/odd order, f16 also times 2^64; int8 as 12-bit integers, scales in front.
 *
 * A few vectors lie one behind the other, f32 not even copied. More are a batch: blocks of four, 16 bytes of each in turn,
 * zeros where the last block is not full; batch-product.ts has its workspace behind them. ../src/scratch-sizes.ts adds it all up.
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
const ACTIVATION_MOST: i16 = 4095;
/** 1.5 · 2^23: from 2^23 to 2^24 the floats are the integers. */
const INTEGERS_FROM: f32 = 12582912;

@inline
export function padded(n: usize): usize {
  return (n + 15) & ~15;
}

/** Bytes in front of the vectors in scratch: one f32 scale for each, int8 only. */
@inline
function scaleBytes(nTokens: usize): usize {
  return (4 * nTokens + 15) & ~15;
}

/** Whether rows are widened first (batch-product.ts). Below, reading them from DRAM and multiplying had better overlap. */
@inline
export function isBatch(nTokens: usize): bool {
  return nTokens >= 16;
}

/** The vectors of a batch, with those that fill its last block. */
@inline
export function inBlocks(nTokens: usize): usize {
  return (nTokens + 3) & ~3;
}

/** Prepares `nTokens` vectors and returns where they are. */
export function prepareVectors(scratch: usize, x: usize, dtype: i32, cols: usize, nTokens: usize): usize {
  const batch = isBatch(nTokens);
  if (dtype == F32 && !batch) return x;
  const width = padded(cols);
  const vectors = scratch + scaleBytes(nTokens);
  const vStride = width * (dtype > BF16 ? 2 : 4);
  const step: usize = batch ? 64 : 16;
  for (let t: usize = 0; t < nTokens; t++) {
    const at = vectors + (batch ? (t & ~3) * vStride + 16 * (t & 3) : t * vStride);
    const from = x + 4 * width * t;
    if (dtype == F32) spread(at, step, from, width);
    else if (dtype == F16) splitEvenOdd(at, step, from, width, HALF_VECTOR_FACTOR);
    else if (dtype == BF16) splitEvenOdd(at, step, from, width, 1);
    else store<f32>(scratch + 4 * t, quantise(at, step, from, width));
  }
  if (batch) for (let t = nTokens; t < inBlocks(nTokens); t++) {
    clear(vectors + (t & ~3) * vStride + 16 * (t & 3), step, vStride);
  }
  return vectors;
}

/** Scale of vector t; int8. */
@inline
export function vectorScale(scratch: usize, t: usize): f32 {
  return load<f32>(scratch + 4 * t);
}

/** f32 as they are, sixteen bytes every `step`, as in all that follow. */
function spread(out: usize, step: usize, x: usize, count: usize): void {
  for (const end = x + 4 * count; x < end; x += 16) {
    v128.store(out, v128.load(x));
    out += step;
  }
}

function clear(out: usize, step: usize, sizeBytes: usize): void {
  for (let k: usize = 0; k < sizeBytes; k += 16) {
    v128.store(out, f32x4.splat(0));
    out += step;
  }
}

/** Every eight elements as 0 2 4 6 1 3 5 7, times a power of two. `out` may be x. */
export function splitEvenOdd(out: usize, step: usize, x: usize, count: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  const end = x + 4 * count;
  for (; x < end; x += 32) {
    const a = v128.load(x), b = v128.load(x, 16);
    v128.store(out, f32x4.mul(v128.shuffle<f32>(a, b, 0, 2, 4, 6), f));
    v128.store(out + step, f32x4.mul(v128.shuffle<f32>(a, b, 1, 3, 5, 7), f));
    out += 2 * step;
  }
}

/** The way back of {@link splitEvenOdd}, in place. */
export function joinEvenOdd(x: usize, count: usize): void {
  for (const end = x + 4 * count; x < end; x += 32) {
    const even = v128.load(x), odd = v128.load(x, 16);
    v128.store(x, v128.shuffle<f32>(even, odd, 0, 4, 1, 5));
    v128.store(x, v128.shuffle<f32>(even, odd, 2, 6, 3, 7), 16);
  }
}

/**
 * q = x / scale to the nearest integer, ties to even, within ±4095; scale = fl(max|x| / 4095), which is returned.
 * If the scale is zero or not finite, q is zero: a NaN or infinity then shows through the scale.
 *
 * @param q i16, `count` of them; @param count A multiple of 8.
 */
function quantise(q: usize, step: usize, x: usize, count: usize): f32 {
  const scale = largestMagnitude(x, count) / <f32>ACTIVATION_MOST;
  if (!(scale > 0 && scale < Infinity)) {
    clear(q, step, 2 * count);
    return scale;
  }
  const s = f32x4.splat(scale), integers = f32x4.splat(INTEGERS_FROM);
  const most = i16x8.splat(ACTIVATION_MOST), least = i16x8.neg(most);
  for (const end = x + 4 * count; x < end; x += 32) {
    const a = round4(f32x4.div(v128.load(x), s), integers), b = round4(f32x4.div(v128.load(x, 16), s), integers);
    v128.store(q, i16x8.max_s(i16x8.min_s(i16x8.narrow_i32x4_s(a, b), most), least));
    q += step;
  }
  return scale;
}

/** To the nearest i32, ties to even, of |x| < 2^22: the sum's last place is 1, and its bits count from those of `integers`. */
@inline
function round4(x: v128, integers: v128): v128 {
  return i32x4.sub(f32x4.add(x, integers), integers);
}

/** max |x[k]|; NaN if any is. Of the bits: as integers they are in the order of the magnitudes, and NaN comes last. */
function largestMagnitude(x: usize, count: usize): f32 {
  const magnitude = i32x4.splat(0x7fffffff);
  let m = i32x4.splat(0), n = m;
  for (const end = x + 4 * count; x < end; x += 32) {
    m = i32x4.max_s(m, v128.and(v128.load(x), magnitude));
    n = i32x4.max_s(n, v128.and(v128.load(x, 16), magnitude));
  }
  m = i32x4.max_s(m, n);
  const a = max<i32>(i32x4.extract_lane(m, 0), i32x4.extract_lane(m, 1));
  const b = max<i32>(i32x4.extract_lane(m, 2), i32x4.extract_lane(m, 3));
  return reinterpret<f32>(max<i32>(a, b));
}
