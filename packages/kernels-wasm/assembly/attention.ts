/**
 * `attention`: scores, softmax, mix of values, of a group of rows at a time: a row is one query of one head.
 *
 * Order of summation. Score: one f32x4 accumulator over the head's elements, four a step, sumLanes; plus ALiBi's bias, times the scale. Softmax: the sum of
 * exponentials in one f32x4 accumulator over the keys, four a step, sumLanes. Value: keys ascending, one product after the other; divided
 * by the sum at the end. A query never touches keys beyond its own position, so that nothing there, not even a NaN, can
 * reach it: four queries share the keys that all of them see, and each takes the rest alone.
 *
 * Keys and values come page by page (kv-cache.ts), and a page serves the whole group before the next one is looked at. Several queries of a head find what
 * they share in the first-level cache, wherever pages lie; several heads of one query read what is neighbouring in a page in sequence, which is what
 * hardware prefetches. Sums of values wait in `out` from one page to the next, so their order stays that of the positions.
 *
 * Scratch holds the group's rows: scores, then weights, and the sum of exponentials behind them. The scaled query waits in its place in `out`, which is
 * written last.
 */
import { addProduct, Half, HALF_FACTOR, load1, load4, loadTail, sumLanes, F16, F32 } from "./element";
import { exp4 } from "./exponential";
import { pageAt, PAGE_TOKENS } from "./kv-cache";
import { HALF_SUM_FACTOR, padded } from "./vector";

/** Rows of a group; as many of `rowBytes` are `attentionScratchBytes` (../src/scratch-sizes.ts). A multiple of 4. */
const GROUP_ROWS: usize = 8;
/** Queries meet halves scaled by 2^64, as vectors do (vector.ts). */
const HALF_QUERY_FACTOR: f32 = reinterpret<f32>(0x5f800000);

/** Bytes of a row for `nKeys` keys, whole f32x4, and of its sum. */
@inline
function rowBytes(nKeys: usize): usize {
  return 4 * ((nKeys + 3) & ~3) + 16;
}

export function attention(
  out: usize, q: usize, dtype: i32, pages: usize, offset: usize, nKvHeads: usize, headDim: usize, nHeads: usize,
  scale: f32, slopes: usize, position: usize, nTokens: usize, scratch: usize, headBegin: usize, headEnd: usize,
): void {
  const stride = padded(nHeads * headDim) * 4;
  for (let t: usize = 0; t < nTokens; t += GROUP_ROWS) {
    const tokens = min<usize>(GROUP_ROWS, nTokens - t);
    const o = out + t * stride, i = q + t * stride;
    for (let head = headBegin; head < headEnd;) {
      const next = min<usize>(headEnd, head + GROUP_ROWS / tokens);
      if (dtype == F32) attendGroup<f32>(o, i, stride, tokens, pages, offset, nKvHeads, headDim, nHeads, head, next, scale, slopes, position + t, scratch);
      else if (dtype == F16) attendGroup<Half>(o, i, stride, tokens, pages, offset, nKvHeads, headDim, nHeads, head, next, scale, slopes, position + t, scratch);
      else attendGroup<i8>(o, i, stride, tokens, pages, offset, nKvHeads, headDim, nHeads, head, next, scale, slopes, position + t, scratch);
      head = next;
    }
  }
  if (headEnd == nHeads) {
    const end = nHeads * headDim * 4;
    for (let t: usize = 0; t < nTokens; t++) memory.fill(out + t * stride + end, 0, stride - end);
  }
}

/** Heads [begin, end) of `tokens` queries at `position` and after: GROUP_ROWS rows at most. */
function attendGroup<T>(
  out: usize, q: usize, stride: usize, tokens: usize, pages: usize, offset: usize, nKvHeads: usize, headDim: usize,
  nHeads: usize, begin: usize, end: usize, scale: f32, slopes: usize, position: usize, scratch: usize,
): void {
  const nKeys = position + tokens;
  const rowStride = rowBytes(nKeys);
  // Of a head's keys, or of its values, in a page.
  const blockBytes = PAGE_TOKENS * headDim * sizeof<T>();
  const values = offset + nKvHeads * blockBytes;
  const keyScales = values + nKvHeads * blockBytes;
  const valueScales = keyScales + 4 * PAGE_TOKENS * nKvHeads;
  for (let head = begin; head < end; head++) {
    const o = out + 4 * head * headDim, i = q + 4 * head * headDim;
    for (let t: usize = 0; t < tokens; t++) scaleQuery(o + t * stride, i + t * stride, headDim, sizeof<T>() == 2 ? HALF_QUERY_FACTOR : 1);
  }
  for (let j: usize = 0; j < nKeys; j += PAGE_TOKENS) {
    const keys = pageAt(pages, j) + offset;
    for (let head = begin, rows = scratch; head < end; head++, rows += tokens * rowStride) {
      const kvHead = (head * nKvHeads) / nHeads;
      scorePage<T>(rows, rowStride, out + 4 * head * headDim, stride, tokens, keys + kvHead * blockBytes, headDim, position, j);
    }
  }
  for (let head = begin, rows = scratch; head < end; head++, rows += tokens * rowStride) {
    const kvHead = (head * nKvHeads) / nHeads, scales = PAGE_TOKENS * kvHead * 4;
    const slope = slopes ? load<f32>(slopes + 4 * head) : 0;
    for (let t: usize = 0; t < tokens; t++) {
      softmax<T>(rows + t * rowStride, rowStride, position + t + 1, pages, keyScales + scales, valueScales + scales, scale, slope);
      memory.fill(out + 4 * head * headDim + t * stride, 0, 4 * headDim);
    }
  }
  for (let j: usize = 0; j < nKeys; j += PAGE_TOKENS) {
    const page = pageAt(pages, j) + values;
    for (let head = begin, rows = scratch; head < end; head++, rows += tokens * rowStride) {
      const kvHead = (head * nKvHeads) / nHeads;
      mixPage<T>(out + 4 * head * headDim, stride, rows, rowStride, tokens, page + kvHead * blockBytes, headDim, position, j);
    }
  }
  for (let head = begin, rows = scratch; head < end; head++, rows += tokens * rowStride) {
    for (let t: usize = 0; t < tokens; t++) {
      divide(out + 4 * head * headDim + t * stride, headDim, load<f32>(sumAt(rows + t * rowStride, rowStride)));
    }
  }
}

/** Where a row keeps the sum of its exponentials. */
@inline
function sumAt(row: usize, rowStride: usize): usize {
  return row + rowStride - 16;
}

/** How many of the page's keys, which begins at position j, a query sees that sees `nKeys` in all. */
@inline
function seen(nKeys: usize, j: usize): usize {
  return nKeys > j ? min<usize>(PAGE_TOKENS, nKeys - j) : 0;
}

/** Scores of `tokens` queries of one head for its keys in the page that begins at position j. */
function scorePage<T>(
  rows: usize, rowStride: usize, q: usize, stride: usize, tokens: usize, keys: usize, headDim: usize, position: usize,
  j: usize,
): void {
  for (let t: usize = 0; t < tokens; t += 4) {
    const count = min<usize>(4, tokens - t);
    const shared = count == 4 ? seen(position + t + 1, j) : 0;
    if (shared) scoreFour<T>(rows + t * rowStride + 4 * j, rowStride, q + t * stride, stride, keys, headDim, shared);
    for (let i = t; i < t + count; i++) {
      scoreOne<T>(rows + i * rowStride + 4 * j, q + i * stride, keys, headDim, shared, seen(position + i + 1, j));
    }
  }
}

/** Adds to `tokens` outputs of one head its weighted values in the page that begins at position j. */
function mixPage<T>(
  out: usize, stride: usize, rows: usize, rowStride: usize, tokens: usize, values: usize, headDim: usize,
  position: usize, j: usize,
): void {
  for (let t: usize = 0; t < tokens; t += 4) {
    const count = min<usize>(4, tokens - t);
    const shared = count == 4 ? seen(position + t + 1, j) : 0;
    if (shared) mixFour<T>(out + t * stride, stride, rows + t * rowStride + 4 * j, rowStride, values, headDim, shared);
    for (let i = t; i < t + count; i++) {
      mixOne<T>(out + i * stride, rows + i * rowStride + 4 * j, values, headDim, shared, seen(position + i + 1, j));
    }
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
  let j: usize = 0;
  let k = keys;
  for (; j + 2 <= end; j += 2) {
    const l = k + keyBytes;
    let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (let d: usize = 0; d < bulk; d += 4) {
      const u = load4<T>(k + d * sizeof<T>()), v = load4<T>(l + d * sizeof<T>());
      let w = v128.load(q + 4 * d);
      a0 = addProduct(a0, u, w); b0 = addProduct(b0, v, w);
      w = v128.load(q1 + 4 * d);
      a1 = addProduct(a1, u, w); b1 = addProduct(b1, v, w);
      w = v128.load(q2 + 4 * d);
      a2 = addProduct(a2, u, w); b2 = addProduct(b2, v, w);
      w = v128.load(q3 + 4 * d);
      a3 = addProduct(a3, u, w); b3 = addProduct(b3, v, w);
    }
    if (tail) {
      const u = loadTail<T>(k + bulk * sizeof<T>(), tail), v = loadTail<T>(l + bulk * sizeof<T>(), tail);
      let w = loadTail<f32>(q + 4 * bulk, tail);
      a0 = addProduct(a0, u, w); b0 = addProduct(b0, v, w);
      w = loadTail<f32>(q1 + 4 * bulk, tail);
      a1 = addProduct(a1, u, w); b1 = addProduct(b1, v, w);
      w = loadTail<f32>(q2 + 4 * bulk, tail);
      a2 = addProduct(a2, u, w); b2 = addProduct(b2, v, w);
      w = loadTail<f32>(q3 + 4 * bulk, tail);
      a3 = addProduct(a3, u, w); b3 = addProduct(b3, v, w);
    }
    const s = scores + 4 * j;
    store<f32>(s, sumLanes(a0)); store<f32>(s, sumLanes(b0), 4);
    store<f32>(s + rowStride, sumLanes(a1)); store<f32>(s + rowStride, sumLanes(b1), 4);
    store<f32>(s + 2 * rowStride, sumLanes(a2)); store<f32>(s + 2 * rowStride, sumLanes(b2), 4);
    store<f32>(s + 3 * rowStride, sumLanes(a3)); store<f32>(s + 3 * rowStride, sumLanes(b3), 4);
    k = l + keyBytes;
  }
  if (j < end) {
    scoreOne<T>(scores, q, keys, headDim, j, end);
    scoreOne<T>(scores + rowStride, q1, keys, headDim, j, end);
    scoreOne<T>(scores + 2 * rowStride, q2, keys, headDim, j, end);
    scoreOne<T>(scores + 3 * rowStride, q3, keys, headDim, j, end);
  }
}

/**
 * Sums become weights: e^(score − largest), times what the stored values need (int8: their scale; half: 2^112, exact for
 * weights up to 1). Leaves the sum of the exponentials behind them.
 */
function softmax<T>(
  scores: usize, rowStride: usize, n: usize, pages: usize, keyScales: usize, valueScales: usize, scale: f32, slope: f32,
): void {
  for (let j = n; j & 3; j++) store<f32>(scores + 4 * j, -Infinity);
  const largest = scaleScores<T>(scores, n, pages, keyScales, scale, slope);
  const m = f32x4.splat(largest);
  let sum = f32x4.splat(0);
  for (let j: usize = 0; j < n; j += 4) {
    const e = exp4(f32x4.sub(v128.load(scores + 4 * j), m));
    sum = f32x4.add(sum, e);
    v128.store(scores + 4 * j, e);
  }
  if (sizeof<T>() == 1) {
    multiplyByScales(scores, n, pages, valueScales);
  } else if (sizeof<T>() == 2) {
    const factor = f32x4.splat(HALF_FACTOR);
    for (let j: usize = 0; j < n; j += 4) v128.store(scores + 4 * j, f32x4.mul(v128.load(scores + 4 * j), factor));
  }
  store<f32>(sumAt(scores, rowStride), sumLanes(sum));
}

/** Brings sums to scores and returns the largest; NaN if any is. */
function scaleScores<T>(scores: usize, n: usize, pages: usize, keyScales: usize, scale: f32, slope: f32): f32 {
  if (sizeof<T>() == 1) multiplyByScales(scores, n, pages, keyScales);
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

/** values[j] *= scale of position j, for j < n. */
function multiplyByScales(values: usize, n: usize, pages: usize, scales: usize): void {
  for (let j: usize = 0; j < n; j += PAGE_TOKENS) {
    const count = seen(n, j), bulk = count & ~3;
    const from = pageAt(pages, j) + scales, to = values + 4 * j;
    for (let i: usize = 0; i < bulk; i += 4) v128.store(to + 4 * i, f32x4.mul(v128.load(to + 4 * i), v128.load(from + 4 * i)));
    for (let i = bulk; i < count; i++) store<f32>(to + 4 * i, load<f32>(to + 4 * i) * load<f32>(from + 4 * i));
  }
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

/** out[d] += Σ_j weights[j] · value[j, d], j in [begin, end): four values at a time, read in sequence, their weights in registers. */
function mixOne<T>(out: usize, weights: usize, values: usize, headDim: usize, begin: usize, end: usize): void {
  const valueBytes = headDim * sizeof<T>();
  const bulk = headDim & ~3;
  let j = begin;
  let p0 = values + j * valueBytes;
  for (; j + 4 <= end; j += 4) {
    const w = weights + 4 * j;
    const e0 = v128.load32_splat(w), e1 = v128.load32_splat(w, 4), e2 = v128.load32_splat(w, 8), e3 = v128.load32_splat(w, 12);
    const p1 = p0 + valueBytes, p2 = p1 + valueBytes, p3 = p2 + valueBytes;
    for (let d: usize = 0; d < bulk; d += 4) {
      const at = d * sizeof<T>();
      let a = addProduct(v128.load(out + 4 * d), e0, load4<T>(p0 + at));
      a = addProduct(a, e1, load4<T>(p1 + at));
      a = addProduct(a, e2, load4<T>(p2 + at));
      v128.store(out + 4 * d, addProduct(a, e3, load4<T>(p3 + at)));
    }
    for (let d = bulk; d < headDim; d++) {
      const at = d * sizeof<T>();
      let a = load<f32>(out + 4 * d) + load<f32>(w) * load1<T>(p0 + at);
      a += load<f32>(w, 4) * load1<T>(p1 + at);
      a += load<f32>(w, 8) * load1<T>(p2 + at);
      store<f32>(out + 4 * d, a + load<f32>(w, 12) * load1<T>(p3 + at));
    }
    p0 = p3 + valueBytes;
  }
  for (; j < end; j++) {
    const w = weights + 4 * j;
    const e = v128.load32_splat(w);
    for (let d: usize = 0; d < bulk; d += 4) {
      v128.store(out + 4 * d, addProduct(v128.load(out + 4 * d), e, load4<T>(p0 + d * sizeof<T>())));
    }
    for (let d = bulk; d < headDim; d++) {
      store<f32>(out + 4 * d, load<f32>(out + 4 * d) + load<f32>(w) * load1<T>(p0 + d * sizeof<T>()));
    }
    p0 += valueBytes;
  }
}

/** The same for four queries, j < end: two values at a time. */
function mixFour<T>(
  out: usize, stride: usize, weights: usize, rowStride: usize, values: usize, headDim: usize, end: usize,
): void {
  const valueBytes = headDim * sizeof<T>();
  const bulk = headDim & ~3;
  const out1 = out + stride, out2 = out1 + stride, out3 = out2 + stride;
  const pairs = end & ~1;
  let p = values;
  for (let w = weights, wEnd = weights + 4 * pairs; w < wEnd; w += 8) {
    const w1 = w + rowStride, w2 = w1 + rowStride, w3 = w2 + rowStride;
    const e0 = v128.load32_splat(w), e1 = v128.load32_splat(w1), e2 = v128.load32_splat(w2), e3 = v128.load32_splat(w3);
    const f0 = v128.load32_splat(w, 4), f1 = v128.load32_splat(w1, 4), f2 = v128.load32_splat(w2, 4), f3 = v128.load32_splat(w3, 4);
    for (let d: usize = 0; d < bulk; d += 4) {
      const u = load4<T>(p + d * sizeof<T>()), v = load4<T>(p + valueBytes + d * sizeof<T>());
      const at: usize = 4 * d;
      v128.store(out + at, addProduct(addProduct(v128.load(out + at), e0, u), f0, v));
      v128.store(out1 + at, addProduct(addProduct(v128.load(out1 + at), e1, u), f1, v));
      v128.store(out2 + at, addProduct(addProduct(v128.load(out2 + at), e2, u), f2, v));
      v128.store(out3 + at, addProduct(addProduct(v128.load(out3 + at), e3, u), f3, v));
    }
    for (let d = bulk; d < headDim; d++) {
      const u = load1<T>(p + d * sizeof<T>()), v = load1<T>(p + valueBytes + d * sizeof<T>());
      const at: usize = 4 * d;
      store<f32>(out + at, load<f32>(out + at) + load<f32>(w) * u + load<f32>(w, 4) * v);
      store<f32>(out1 + at, load<f32>(out1 + at) + load<f32>(w1) * u + load<f32>(w1, 4) * v);
      store<f32>(out2 + at, load<f32>(out2 + at) + load<f32>(w2) * u + load<f32>(w2, 4) * v);
      store<f32>(out3 + at, load<f32>(out3 + at) + load<f32>(w3) * u + load<f32>(w3, 4) * v);
    }
    p += 2 * valueBytes;
  }
  for (let t: usize = 0; t < 4; t++) {
    mixOne<T>(out + t * stride, weights + t * rowStride, values, headDim, pairs, end);
  }
}
