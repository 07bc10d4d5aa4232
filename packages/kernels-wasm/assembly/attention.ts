/**
 * `attention`: scores, softmax, mix of values; per head, up to four queries at a time.
 *
 * Order of summation. Score: one f32x4 accumulator over the head's elements, four a step, sumLanes; plus ALiBi's bias, times the scale. Softmax: the sum of
 * exponentials in one f32x4 accumulator over the keys, four a step, sumLanes. Value: keys ascending, one product after the other; divided
 * by the sum at the end. A query never touches keys beyond its own position, so that nothing there, not even a NaN, can
 * reach it: four queries share the keys that all of them see, and each takes the rest alone.
 *
 * Scratch holds four rows of scores. The scaled query waits in its place in `out`, which is written last.
 */
import { addProduct, Half, HALF_FACTOR, load1, load4, loadTail, sumLanes, F16, F32 } from "./element";
import { exp4 } from "./exponential";
import { HALF_SUM_FACTOR, padded } from "./vector";

/** Queries meet halves scaled by 2^64, as vectors do (vector.ts). */
const HALF_QUERY_FACTOR: f32 = reinterpret<f32>(0x5f800000);

@inline
function scoreStride(capacity: usize): usize {
  return 4 * ((capacity + 3) & ~3);
}

export function attentionScratchBytes(capacity: usize): usize {
  return 4 * scoreStride(capacity);
}

export function attention(
  out: usize, q: usize, dtype: i32, keys: usize, values: usize, keyScales: usize, valueScales: usize, capacity: usize,
  nKvHeads: usize, headDim: usize, nHeads: usize, scale: f32, slopes: usize, position: usize, nTokens: usize,
  scratch: usize, headBegin: usize, headEnd: usize,
): void {
  const stride = padded(nHeads * headDim) * 4;
  for (let head = headBegin; head < headEnd; head++) {
    const kvHead = (head * nKvHeads) / nHeads;
    const first = kvHead * capacity;
    const offset = head * headDim * 4;
    const slope = slopes ? load<f32>(slopes + 4 * head) : 0;
    for (let t: usize = 0; t < nTokens; t += 4) {
      const count = min<usize>(4, nTokens - t);
      const o = out + t * stride + offset, i = q + t * stride + offset;
      if (dtype == F32) {
        queries<f32>(o, i, stride, count, keys + 4 * first * headDim, values + 4 * first * headDim, 0, 0, capacity, headDim, scale, slope, position + t, scratch);
      } else if (dtype == F16) {
        queries<Half>(o, i, stride, count, keys + 2 * first * headDim, values + 2 * first * headDim, 0, 0, capacity, headDim, scale, slope, position + t, scratch);
      } else {
        queries<i8>(o, i, stride, count, keys + first * headDim, values + first * headDim, keyScales + 4 * first, valueScales + 4 * first, capacity, headDim, scale, slope, position + t, scratch);
      }
    }
  }
  if (headEnd == nHeads) {
    const end = nHeads * headDim * 4;
    for (let t: usize = 0; t < nTokens; t++) memory.fill(out + t * stride + end, 0, stride - end);
  }
}

/** One head, `count` ≤ 4 queries at `position` and after. */
function queries<T>(
  out: usize, q: usize, stride: usize, count: usize, keys: usize, values: usize, keyScales: usize, valueScales: usize,
  capacity: usize, headDim: usize, scale: f32, slope: f32, position: usize, scratch: usize,
): void {
  const rowStride = scoreStride(capacity);
  const shared = count == 4 ? position + 1 : 0;
  for (let t: usize = 0; t < count; t++) {
    scaleQuery(out + t * stride, q + t * stride, headDim, sizeof<T>() == 2 ? HALF_QUERY_FACTOR : 1);
  }
  if (shared) scoreFour<T>(scratch, rowStride, out, stride, keys, headDim, shared);
  for (let t: usize = 0; t < count; t++) {
    scoreOne<T>(scratch + t * rowStride, out + t * stride, keys, headDim, shared, position + t + 1);
  }
  let s0: f32 = 0, s1: f32 = 0, s2: f32 = 0, s3: f32 = 0;
  for (let t: usize = 0; t < count; t++) {
    const sum = softmax<T>(scratch + t * rowStride, position + t + 1, keyScales, valueScales, scale, slope);
    if (t == 0) s0 = sum;
    else if (t == 1) s1 = sum;
    else if (t == 2) s2 = sum;
    else s3 = sum;
  }
  for (let t: usize = 0; t < count; t++) memory.fill(out + t * stride, 0, 4 * headDim);
  const blocked = shared ? headDim & ~7 : 0;
  if (shared) mixFour<T>(out, stride, scratch, rowStride, values, headDim, blocked, shared);
  for (let t: usize = 0; t < count; t++) {
    const o = out + t * stride, weights = scratch + t * rowStride;
    mixOne<T>(o, weights, values, headDim, blocked, headDim, 0, shared);
    mixOne<T>(o, weights, values, headDim, 0, headDim, shared, position + t + 1);
    divide(o, headDim, t == 0 ? s0 : t == 1 ? s1 : t == 2 ? s2 : s3);
  }
}

function scaleQuery(out: usize, q: usize, headDim: usize, factor: f32): void {
  for (let d: usize = 0; d < headDim; d++) store<f32>(out + 4 * d, load<f32>(q + 4 * d) * factor);
}

function divide(out: usize, headDim: usize, sum: f32): void {
  for (let d: usize = 0; d < headDim; d++) store<f32>(out + 4 * d, load<f32>(out + 4 * d) / sum);
}

/** scores[j] = q · key j for j in [begin, end): four keys at a time. */
function scoreOne<T>(scores: usize, q: usize, keys: usize, headDim: usize, begin: usize, end: usize): void {
  const keyBytes = headDim * sizeof<T>();
  const bulk = headDim & ~3, tail = headDim & 3;
  let j = begin;
  let k0 = keys + j * keyBytes;
  for (; j + 4 <= end; j += 4) {
    const k1 = k0 + keyBytes, k2 = k1 + keyBytes, k3 = k2 + keyBytes;
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
    for (let d: usize = 0; d < bulk; d += 4) {
      const u = v128.load(q + 4 * d), at = d * sizeof<T>();
      a0 = addProduct(a0, load4<T>(k0 + at), u);
      a1 = addProduct(a1, load4<T>(k1 + at), u);
      a2 = addProduct(a2, load4<T>(k2 + at), u);
      a3 = addProduct(a3, load4<T>(k3 + at), u);
    }
    if (tail) {
      const u = loadTail<f32>(q + 4 * bulk, tail), at = bulk * sizeof<T>();
      a0 = addProduct(a0, loadTail<T>(k0 + at, tail), u);
      a1 = addProduct(a1, loadTail<T>(k1 + at, tail), u);
      a2 = addProduct(a2, loadTail<T>(k2 + at, tail), u);
      a3 = addProduct(a3, loadTail<T>(k3 + at, tail), u);
    }
    store<f32>(scores + 4 * j, sumLanes(a0));
    store<f32>(scores + 4 * j, sumLanes(a1), 4);
    store<f32>(scores + 4 * j, sumLanes(a2), 8);
    store<f32>(scores + 4 * j, sumLanes(a3), 12);
    k0 = k3 + keyBytes;
  }
  for (; j < end; j++) {
    let a = f32x4.splat(0);
    for (let d: usize = 0; d < bulk; d += 4) a = addProduct(a, load4<T>(k0 + d * sizeof<T>()), v128.load(q + 4 * d));
    if (tail) a = addProduct(a, loadTail<T>(k0 + bulk * sizeof<T>(), tail), loadTail<f32>(q + 4 * bulk, tail));
    store<f32>(scores + 4 * j, sumLanes(a));
    k0 += keyBytes;
  }
}

/** scores[t, j] = q[t] · key j for four queries and j < end. */
function scoreFour<T>(
  scores: usize, rowStride: usize, q: usize, qStride: usize, keys: usize, headDim: usize, end: usize,
): void {
  const keyBytes = headDim * sizeof<T>();
  const bulk = headDim & ~3, tail = headDim & 3;
  const q1 = q + qStride, q2 = q1 + qStride, q3 = q2 + qStride;
  for (let j: usize = 0; j < end; j++) {
    const k = keys + j * keyBytes;
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
    for (let d: usize = 0; d < bulk; d += 4) {
      const u = load4<T>(k + d * sizeof<T>());
      a0 = addProduct(a0, u, v128.load(q + 4 * d));
      a1 = addProduct(a1, u, v128.load(q1 + 4 * d));
      a2 = addProduct(a2, u, v128.load(q2 + 4 * d));
      a3 = addProduct(a3, u, v128.load(q3 + 4 * d));
    }
    if (tail) {
      const u = loadTail<T>(k + bulk * sizeof<T>(), tail);
      a0 = addProduct(a0, u, loadTail<f32>(q + 4 * bulk, tail));
      a1 = addProduct(a1, u, loadTail<f32>(q1 + 4 * bulk, tail));
      a2 = addProduct(a2, u, loadTail<f32>(q2 + 4 * bulk, tail));
      a3 = addProduct(a3, u, loadTail<f32>(q3 + 4 * bulk, tail));
    }
    const s = scores + 4 * j;
    store<f32>(s, sumLanes(a0));
    store<f32>(s + rowStride, sumLanes(a1));
    store<f32>(s + 2 * rowStride, sumLanes(a2));
    store<f32>(s + 3 * rowStride, sumLanes(a3));
  }
}

/**
 * Sums become weights: e^(score − largest), times what the stored values need (int8: their scale; half: 2^112, exact for
 * weights up to 1). Returns the sum of the exponentials.
 */
function softmax<T>(scores: usize, n: usize, keyScales: usize, valueScales: usize, scale: f32, slope: f32): f32 {
  for (let j = n; j & 3; j++) store<f32>(scores + 4 * j, -Infinity);
  const largest = scaleScores<T>(scores, n, keyScales, scale, slope);
  const m = f32x4.splat(largest);
  let sum = f32x4.splat(0);
  for (let j: usize = 0; j < n; j += 4) {
    const e = exp4(f32x4.sub(v128.load(scores + 4 * j), m));
    sum = f32x4.add(sum, e);
    v128.store(scores + 4 * j, e);
  }
  if (sizeof<T>() == 1) {
    for (let j: usize = 0; j < n; j++) {
      store<f32>(scores + 4 * j, load<f32>(scores + 4 * j) * load<f32>(valueScales + 4 * j));
    }
  } else if (sizeof<T>() == 2) {
    const factor = f32x4.splat(HALF_FACTOR);
    for (let j: usize = 0; j < n; j += 4) v128.store(scores + 4 * j, f32x4.mul(v128.load(scores + 4 * j), factor));
  }
  return sumLanes(sum);
}

/** Brings sums to scores and returns the largest; NaN if any is. */
function scaleScores<T>(scores: usize, n: usize, keyScales: usize, scale: f32, slope: f32): f32 {
  if (sizeof<T>() == 1) {
    for (let j: usize = 0; j < n; j++) {
      store<f32>(scores + 4 * j, load<f32>(scores + 4 * j) * load<f32>(keyScales + 4 * j));
    }
  }
  let back = f32x4.splat(sizeof<T>() == 2 ? HALF_SUM_FACTOR : 1);
  const factor = f32x4.splat(scale);
  if (slope != 0) {
    addAlibi(scores, n, back, slope);
    back = f32x4.splat(1);
  }
  let largest = f32x4.splat(-Infinity);
  for (let j: usize = 0; j < n; j += 4) {
    const s = f32x4.mul(f32x4.mul(v128.load(scores + 4 * j), back), factor);
    largest = f32x4.max(largest, s);
    v128.store(scores + 4 * j, s);
  }
  return max<f32>(
    max<f32>(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1)),
    max<f32>(f32x4.extract_lane(largest, 2), f32x4.extract_lane(largest, 3)),
  );
}

/** scores[j] = scores[j] · back + bf16(slope · bf16(j)). */
function addAlibi(scores: usize, n: usize, back: v128, slope: f32): void {
  const slopes = f32x4.splat(slope), step = f32x4.splat(4);
  let position = f32x4(0, 1, 2, 3);
  for (const end = scores + 4 * n; scores < end; scores += 16) {
    const bias = roundToBrain4(f32x4.mul(slopes, roundToBrain4(position)));
    v128.store(scores, f32x4.add(f32x4.mul(v128.load(scores), back), bias));
    position = f32x4.add(position, step);
  }
}

/** To the nearest bfloat16, ties to even; finite. */
@inline
function roundToBrain4(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  return v128.and(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), i32x4.splat(0xffff0000));
}

/** out[d] += Σ_j weights[j] · value[j, d] for d in [dBegin, dEnd), j in [begin, end). */
function mixOne<T>(
  out: usize, weights: usize, values: usize, headDim: usize, dBegin: usize, dEnd: usize, begin: usize, end: usize,
): void {
  if (begin >= end) return;
  const valueBytes = headDim * sizeof<T>();
  const first = values + begin * valueBytes;
  const w0 = weights + 4 * begin, wEnd = weights + 4 * end;
  let d = dBegin;
  for (; d + 16 <= dEnd; d += 16) {
    let a0 = v128.load(out + 4 * d), a1 = v128.load(out + 4 * d, 16);
    let a2 = v128.load(out + 4 * d, 32), a3 = v128.load(out + 4 * d, 48);
    let p = first + d * sizeof<T>();
    for (let w = w0; w < wEnd; w += 4) {
      const e = v128.load32_splat(w);
      a0 = addProduct(a0, e, load4<T>(p));
      a1 = addProduct(a1, e, load4<T>(p + 4 * sizeof<T>()));
      a2 = addProduct(a2, e, load4<T>(p + 8 * sizeof<T>()));
      a3 = addProduct(a3, e, load4<T>(p + 12 * sizeof<T>()));
      p += valueBytes;
    }
    v128.store(out + 4 * d, a0); v128.store(out + 4 * d, a1, 16);
    v128.store(out + 4 * d, a2, 32); v128.store(out + 4 * d, a3, 48);
  }
  for (; d + 4 <= dEnd; d += 4) {
    let a = v128.load(out + 4 * d);
    let p = first + d * sizeof<T>();
    for (let w = w0; w < wEnd; w += 4) {
      a = addProduct(a, v128.load32_splat(w), load4<T>(p));
      p += valueBytes;
    }
    v128.store(out + 4 * d, a);
  }
  for (; d < dEnd; d++) {
    let a = load<f32>(out + 4 * d);
    let p = first + d * sizeof<T>();
    for (let w = w0; w < wEnd; w += 4) {
      a += load<f32>(w) * load1<T>(p);
      p += valueBytes;
    }
    store<f32>(out + 4 * d, a);
  }
}

/** The same for four queries, d < dEnd (a multiple of 8), j < end. */
function mixFour<T>(
  out: usize, stride: usize, weights: usize, rowStride: usize, values: usize, headDim: usize, dEnd: usize, end: usize,
): void {
  const valueBytes = headDim * sizeof<T>();
  const w1 = rowStride, w2 = rowStride * 2, w3 = rowStride * 3;
  for (let d: usize = 0; d < dEnd; d += 8) {
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    let p = values + d * sizeof<T>();
    for (let w = weights, wEnd = weights + 4 * end; w < wEnd; w += 4) {
      const u = load4<T>(p), v = load4<T>(p + 4 * sizeof<T>());
      let e = v128.load32_splat(w);
      a0 = addProduct(a0, e, u); b0 = addProduct(b0, e, v);
      e = v128.load32_splat(w + w1);
      a1 = addProduct(a1, e, u); b1 = addProduct(b1, e, v);
      e = v128.load32_splat(w + w2);
      a2 = addProduct(a2, e, u); b2 = addProduct(b2, e, v);
      e = v128.load32_splat(w + w3);
      a3 = addProduct(a3, e, u); b3 = addProduct(b3, e, v);
      p += valueBytes;
    }
    const o = out + 4 * d;
    v128.store(o, a0); v128.store(o, b0, 16);
    v128.store(o + stride, a1); v128.store(o + stride, b1, 16);
    v128.store(o + 2 * stride, a2); v128.store(o + 2 * stride, b2, 16);
    v128.store(o + 3 * stride, a3); v128.store(o + 3 * stride, b3, 16);
  }
}
