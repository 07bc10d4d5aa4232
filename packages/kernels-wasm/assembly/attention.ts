/**
 * `attention`: scores, softmax, mix of values, of a group of rows at a time: a row is one query of one head.
 *
 * Order of summation. Score: one f32x4 accumulator over the head's elements, four a step, sumLanes; plus ALiBi's bias, times the scale. Softmax: the sum of
 * exponentials in one f32x4 accumulator over the keys, key j in lane j mod 4, sumLanes, then a sink's. Value: keys ascending, one product after the
 * other; divided by the sum at the end. A query never touches keys beyond its own position or before its window, so that nothing there, not even a
 * NaN, can reach it: four queries share the keys that all of them see, and each takes the rest alone.
 *
 * Pages lie anywhere, which costs what hardware prefetches of a contiguous area. So a group passes over all keys, then all values, in chunks of a few pages:
 * heads take turns in a chunk, as they are neighbours in a page, and before each chunk the next one is brought in (`touch`). Within a chunk rows are looked
 * up in groups of two or four where that keeps loops long, and groups never cross a page. Sums of values wait in `out` from one page or chunk to the next,
 * so their order stays that of the positions.
 *
 * Scratch holds the group's rows: scores, then weights, from the page on in which the group's windows begin, and the sum of exponentials behind them. The
 * scaled query waits in its place in `out`, which is written last.
 */
import { addProduct, Half, HALF_FACTOR, load1, load4, loadTail, sumLanes, F16, F32, INT8 } from "./element";
import { exp4 } from "./exponential";
import { PAGE_TOKENS, pageAt, rowAt } from "./kv-cache";
import { HALF_SUM_FACTOR, padded } from "./vector";

/** Rows of a group; as many of `rowBytes` are `attentionScratchBytes` (../src/scratch-sizes.ts). */
const GROUP_ROWS: usize = 16;
/** Queries of a head in a group, at most: a multiple of 4. */
const GROUP_QUERIES: usize = 8;
/** Queries meet halves scaled by 2^64, as vectors do (vector.ts). */
const HALF_QUERY_FACTOR: f32 = reinterpret<f32>(0x5f800000);

/** Positions that a head passes over before the next one has its turn: whole pages. */
const CHUNK_TOKENS: usize = 4 * PAGE_TOKENS;
/** Keys and values of which a call has at least so many bytes do not come from the second-level cache: they are touched ahead. */
const LEAST_TOUCHED_BYTES: usize = 1024 * 1024;
const LINE_BYTES: usize = 64;

/** Bytes of a row for `nKeys` keys, whole f32x4, and of its sum. */
@inline
function rowBytes(nKeys: usize): usize {
  return 4 * ((nKeys + 3) & ~3) + 16;
}

/** The first key that the query at `position` sees. @param window 0 for none. */
@inline
function firstKey(position: usize, window: usize): usize {
  return window && position >= window ? position + 1 - window : 0;
}

export function attention(
  out: usize, q: usize, dtype: i32, pages: usize, offset: usize, nKvHeads: usize, headDim: usize, nHeads: usize,
  scale: f32, slopes: usize, window: usize, sinks: usize, position: usize, nTokens: usize, scratch: usize, headBegin: usize,
  headEnd: usize,
): void {
  const stride = padded(nHeads * headDim) * 4;
  for (let t: usize = 0; t < nTokens; t += GROUP_QUERIES) {
    const tokens = min<usize>(GROUP_QUERIES, nTokens - t);
    const o = out + t * stride, i = q + t * stride;
    for (let head = headBegin; head < headEnd;) {
      const next = min<usize>(headEnd, head + GROUP_ROWS / tokens);
      if (dtype == F32) attendGroup<f32>(o, i, stride, tokens, pages, offset, nKvHeads, headDim, nHeads, head, next, scale, slopes, window, sinks, position + t, scratch);
      else if (dtype == F16) attendGroup<Half>(o, i, stride, tokens, pages, offset, nKvHeads, headDim, nHeads, head, next, scale, slopes, window, sinks, position + t, scratch);
      else if (dtype == INT8) attendGroup<i8>(o, i, stride, tokens, pages, offset, nKvHeads, headDim, nHeads, head, next, scale, slopes, window, sinks, position + t, scratch);
      else unreachable();
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
  nHeads: usize, begin: usize, end: usize, scale: f32, slopes: usize, window: usize, sinks: usize, position: usize,
  scratch: usize,
): void {
  const nKeys = position + tokens;
  // Where the group begins to look: the page of its first query's first key.
  const from = firstKey(position, window) & ~(PAGE_TOKENS - 1);
  const rowStride = rowBytes(nKeys - from);
  // Key j of a row lies at 4 · j all the same.
  const row0 = scratch - 4 * from;
  // Of a head's keys, or of its values, in a page.
  const headBytes = PAGE_TOKENS * headDim * sizeof<T>();
  const values = offset + nKvHeads * headBytes;
  const keyScales = values + nKvHeads * headBytes;
  const valueScales = keyScales + 4 * PAGE_TOKENS * nKvHeads;
  for (let head = begin; head < end; head++) {
    const o = out + 4 * head * headDim, i = q + 4 * head * headDim;
    for (let t: usize = 0; t < tokens; t++) scaleQuery(o + t * stride, i + t * stride, headDim, sizeof<T>() == 2 ? HALF_QUERY_FACTOR : 1);
  }
  const kvFirst = (begin * nKvHeads) / nHeads, kvCount = ((end - 1) * nKvHeads) / nHeads + 1 - kvFirst;
  // Positions to touch ahead of: all, or none.
  const aheadOf = (nKeys - from) * nKvHeads * headDim * 2 * sizeof<T>() >= LEAST_TOUCHED_BYTES ? nKeys : 0;
  let touched: u32 = 0;
  for (let j = from; j < nKeys; j += CHUNK_TOKENS) {
    for (let i = j + CHUNK_TOKENS; i < chunkEnd(j + CHUNK_TOKENS, aheadOf); i += PAGE_TOKENS) {
      const page = pageAt(pages, i);
      touched |= touch(page + offset + kvFirst * headBytes, kvCount * headBytes);
      if (sizeof<T>() == 1) {
        touched |= touch(page + keyScales + PAGE_TOKENS * kvFirst * 4, PAGE_TOKENS * kvCount * 4);
        touched |= touch(page + valueScales + PAGE_TOKENS * kvFirst * 4, PAGE_TOKENS * kvCount * 4);
      }
    }
    for (let head = begin, rows = row0; head < end; head++, rows += tokens * rowStride) {
      const kvHead = (head * nKvHeads) / nHeads;
      scoreChunk<T>(rows, rowStride, out + 4 * head * headDim, stride, tokens, pages, offset + kvHead * headBytes, headDim, window, position, j);
    }
  }
  for (let head = begin, rows = row0; head < end; head++, rows += tokens * rowStride) {
    const kvHead = (head * nKvHeads) / nHeads, scales = PAGE_TOKENS * kvHead * 4;
    const slope = slopes ? load<f32>(slopes + 4 * head) : 0;
    const sink = sinks ? load<f32>(sinks + 4 * head) : -Infinity;
    for (let t: usize = 0; t < tokens; t++) {
      const row = rows + t * rowStride, query = position + t;
      softmax<T>(
        row, sumAt(row + 4 * from, rowStride), firstKey(query, window), query + 1, pages, keyScales + scales, valueScales + scales, scale, slope, sink,
      );
      memory.fill(out + 4 * head * headDim + t * stride, 0, 4 * headDim);
    }
  }
  for (let j = from; j < nKeys; j += CHUNK_TOKENS) {
    for (let i = j + CHUNK_TOKENS; i < chunkEnd(j + CHUNK_TOKENS, aheadOf); i += PAGE_TOKENS) {
      touched |= touch(pageAt(pages, i) + values + kvFirst * headBytes, kvCount * headBytes);
    }
    for (let head = begin, rows = row0; head < end; head++, rows += tokens * rowStride) {
      const kvHead = (head * nKvHeads) / nHeads;
      mixChunk<T>(out + 4 * head * headDim, stride, rows, rowStride, tokens, pages, values + kvHead * headBytes, headDim, window, position, j);
    }
  }
  store<u32>(sumAt(scratch, rowStride) + 4, touched);
  for (let head = begin, rows = row0; head < end; head++, rows += tokens * rowStride) {
    for (let t: usize = 0; t < tokens; t++) {
      divide(out + 4 * head * headDim + t * stride, headDim, load<f32>(sumAt(rows + t * rowStride + 4 * from, rowStride)));
    }
  }
}

/**
 * Reads a byte range line by line, for nothing but to have it in a cache: of many loads that wait for none, memory serves some twenty at once, where
 * products of rows wait for a few. Returns something that depends on every load.
 */
function touch(from: usize, bytes: usize): u32 {
  let all: u32 = 0;
  for (let p = from, end = from + bytes; p < end; p += LINE_BYTES) all |= load<u32>(p);
  return all;
}

/** Where a row keeps the sum of its exponentials. */
@inline
function sumAt(row: usize, rowStride: usize): usize {
  return row + rowStride - 16;
}

/** Where the chunk that begins at position j ends, of `nKeys` keys; j where there are fewer. */
@inline
function chunkEnd(j: usize, nKeys: usize): usize {
  return max<usize>(j, min<usize>(j + CHUNK_TOKENS, nKeys));
}

/** From where on four queries at `position` and after share keys of the chunk that begins at position j; even, and perhaps beyond its end. */
@inline
function sharedBegin(j: usize, position: usize, window: usize): usize {
  return (max<usize>(j, firstKey(position + 3, window)) + 1) & ~1;
}

/** Scores of `tokens` queries of one head for its keys in the chunk that begins at position j. */
function scoreChunk<T>(
  rows: usize, rowStride: usize, q: usize, stride: usize, tokens: usize, pages: usize, keys: usize, headDim: usize,
  window: usize, position: usize, j: usize,
): void {
  for (let t: usize = 0; t < tokens; t += 4) {
    const count = min<usize>(4, tokens - t);
    const begin = sharedBegin(j, position + t, window);
    const shared = count == 4 ? chunkEnd(j, position + t + 1) : 0;
    if (shared > begin) scoreFour<T>(rows + t * rowStride, rowStride, q + t * stride, stride, pages, keys, headDim, begin, shared);
    for (let i = t; i < t + count; i++) {
      const row = rows + i * rowStride, query = q + i * stride;
      const first = max<usize>(j, firstKey(position + i, window)), end = chunkEnd(j, position + i + 1);
      if (shared > begin) {
        scoreOne<T>(row, query, pages, keys, headDim, first, begin);
        scoreOne<T>(row, query, pages, keys, headDim, shared, end);
      } else {
        scoreOne<T>(row, query, pages, keys, headDim, first, end);
      }
    }
  }
}

/** Adds to `tokens` outputs of one head its weighted values in the chunk that begins at position j, ascending. */
function mixChunk<T>(
  out: usize, stride: usize, rows: usize, rowStride: usize, tokens: usize, pages: usize, values: usize, headDim: usize,
  window: usize, position: usize, j: usize,
): void {
  for (let t: usize = 0; t < tokens; t += 4) {
    const count = min<usize>(4, tokens - t);
    const begin = sharedBegin(j, position + t, window);
    const shared = count == 4 ? chunkEnd(j, position + t + 1) : 0;
    const isShared = shared > begin;
    for (let i = t; i < t + count; i++) {
      const first = max<usize>(j, firstKey(position + i, window)), end = chunkEnd(j, position + i + 1);
      mixOne<T>(out + i * stride, rows + i * rowStride, pages, values, headDim, first, isShared ? begin : end);
    }
    if (!isShared) continue;
    mixFour<T>(out + t * stride, stride, rows + t * rowStride, rowStride, pages, values, headDim, begin, shared);
    for (let i = t; i < t + count; i++) {
      mixOne<T>(out + i * stride, rows + i * rowStride, pages, values, headDim, shared, chunkEnd(j, position + i + 1));
    }
  }
}

function scaleQuery(out: usize, q: usize, headDim: usize, factor: f32): void {
  for (let d: usize = 0; d < headDim; d++) store<f32>(out + 4 * d, load<f32>(q + 4 * d) * factor);
}

function divide(out: usize, headDim: usize, sum: f32): void {
  for (let d: usize = 0; d < headDim; d++) store<f32>(out + 4 * d, load<f32>(out + 4 * d) / sum);
}

/** scores[j] = q · key j for j in [begin, end): four keys at a time where they are a group. */
function scoreOne<T>(
  scores: usize, q: usize, pages: usize, keys: usize, headDim: usize, begin: usize, end: usize,
): void {
  const keyBytes = headDim * sizeof<T>();
  const bulk = headDim & ~3, tail = headDim & 3;
  let j = begin;
  for (; j < end && j & 3; j++) scoreKey<T>(scores + 4 * j, q, rowAt(pages, keys, j, keyBytes), bulk, tail);
  for (; j + 4 <= end; j += 4) {
    const k0 = rowAt(pages, keys, j, keyBytes), k1 = k0 + keyBytes, k2 = k1 + keyBytes, k3 = k2 + keyBytes;
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
  }
  for (; j < end; j++) scoreKey<T>(scores + 4 * j, q, rowAt(pages, keys, j, keyBytes), bulk, tail);
}

function scoreKey<T>(score: usize, q: usize, key: usize, bulk: usize, tail: usize): void {
  let a = f32x4.splat(0);
  for (let d: usize = 0; d < bulk; d += 4) a = addProduct(a, load4<T>(key + d * sizeof<T>()), v128.load(q + 4 * d));
  if (tail) a = addProduct(a, loadTail<T>(key + bulk * sizeof<T>(), tail), loadTail<f32>(q + 4 * bulk, tail));
  store<f32>(score, sumLanes(a));
}

/** scores[t, j] = q[t] · key j for four queries and j in [begin, end), begin even: two keys at a time. */
function scoreFour<T>(
  scores: usize, rowStride: usize, q: usize, qStride: usize, pages: usize, keys: usize, headDim: usize,
  begin: usize, end: usize,
): void {
  const keyBytes = headDim * sizeof<T>();
  const bulk = headDim & ~3, tail = headDim & 3;
  const q1 = q + qStride, q2 = q1 + qStride, q3 = q2 + qStride;
  let j = begin;
  for (; j + 2 <= end; j += 2) {
    const k = rowAt(pages, keys, j, keyBytes), l = k + keyBytes;
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
  }
  if (j < end) {
    scoreOne<T>(scores, q, pages, keys, headDim, j, end);
    scoreOne<T>(scores + rowStride, q1, pages, keys, headDim, j, end);
    scoreOne<T>(scores + 2 * rowStride, q2, pages, keys, headDim, j, end);
    scoreOne<T>(scores + 3 * rowStride, q3, pages, keys, headDim, j, end);
  }
}

/**
 * Sums become weights: e^(score − largest), times what the stored values need (int8: their scale; half: 2^112, exact for
 * weights up to 1). The sum of the exponentials goes to `sumPtr`. Of keys [first, n); lanes beside them weigh nothing.
 *
 * @param sink A score without a value; -Infinity for none.
 */
function softmax<T>(
  scores: usize, sumPtr: usize, first: usize, n: usize, pages: usize, keyScales: usize, valueScales: usize, scale: f32,
  slope: f32, sink: f32,
): void {
  const begin = first & ~3;
  for (let j = begin; j < first; j++) store<f32>(scores + 4 * j, -Infinity);
  for (let j = n; j & 3; j++) store<f32>(scores + 4 * j, -Infinity);
  const largest = max<f32>(scaleScores<T>(scores, first, n, pages, keyScales, scale, slope), sink);
  const m = f32x4.splat(largest);
  let sum = f32x4.splat(0);
  for (let j = begin; j < n; j += 4) {
    const e = exp4(f32x4.sub(v128.load(scores + 4 * j), m));
    sum = f32x4.add(sum, e);
    v128.store(scores + 4 * j, e);
  }
  if (sizeof<T>() == 1) {
    multiplyByScales(scores, first, n, pages, valueScales);
  } else if (sizeof<T>() == 2) {
    const factor = f32x4.splat(HALF_FACTOR);
    for (let j = begin; j < n; j += 4) v128.store(scores + 4 * j, f32x4.mul(v128.load(scores + 4 * j), factor));
  }
  store<f32>(sumPtr, sumLanes(sum) + f32x4.extract_lane(exp4(f32x4.splat(sink - largest)), 0));
}

/** Brings the sums of keys [first, n) to scores and returns the largest; NaN if any is. */
function scaleScores<T>(scores: usize, first: usize, n: usize, pages: usize, keyScales: usize, scale: f32, slope: f32): f32 {
  const begin = first & ~3;
  if (sizeof<T>() == 1) multiplyByScales(scores, first, n, pages, keyScales);
  let back = f32x4.splat(sizeof<T>() == 2 ? HALF_SUM_FACTOR : 1);
  const factor = f32x4.splat(scale);
  if (slope != 0) {
    addAlibi(scores, begin, n, back, slope);
    back = f32x4.splat(1);
  }
  let largest = f32x4.splat(-Infinity);
  for (let j = begin; j < n; j += 4) {
    const s = f32x4.mul(f32x4.mul(v128.load(scores + 4 * j), back), factor);
    largest = f32x4.max(largest, s);
    v128.store(scores + 4 * j, s);
  }
  return max<f32>(
    max<f32>(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1)),
    max<f32>(f32x4.extract_lane(largest, 2), f32x4.extract_lane(largest, 3)),
  );
}

/** values[j] *= scale of position j, for first ≤ j < n. */
function multiplyByScales(values: usize, first: usize, n: usize, pages: usize, scales: usize): void {
  let j = first;
  for (; j < n && j & 3; j++) multiplyByScale(values + 4 * j, rowAt(pages, scales, j, 4));
  for (; j + 4 <= n; j += 4) v128.store(values + 4 * j, f32x4.mul(v128.load(values + 4 * j), v128.load(rowAt(pages, scales, j, 4))));
  for (; j < n; j++) multiplyByScale(values + 4 * j, rowAt(pages, scales, j, 4));
}

@inline
function multiplyByScale(value: usize, scale: usize): void {
  store<f32>(value, load<f32>(value) * load<f32>(scale));
}

/** scores[j] = scores[j] · back + bf16(slope · bf16(j)), begin ≤ j < n in fours. @param begin A multiple of 4. */
function addAlibi(scores: usize, begin: usize, n: usize, back: v128, slope: f32): void {
  const slopes = f32x4.splat(slope), step = f32x4.splat(4);
  let position = f32x4.add(f32x4.splat(<f32>begin), f32x4(0, 1, 2, 3));
  for (let j = begin; j < n; j += 4) {
    const bias = roundToBrain4(f32x4.mul(slopes, roundToBrain4(position)));
    v128.store(scores + 4 * j, f32x4.add(f32x4.mul(v128.load(scores + 4 * j), back), bias));
    position = f32x4.add(position, step);
  }
}

/** To the nearest bfloat16, ties to even; finite. */
@inline
function roundToBrain4(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  return v128.and(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), i32x4.splat(0xffff0000));
}

/** out[d] += Σ_j weights[j] · value[j, d], j in [begin, end): a page at a time, as V8 11 wants short loop bodies. */
function mixOne<T>(
  out: usize, weights: usize, pages: usize, values: usize, headDim: usize, begin: usize, end: usize,
): void {
  const valueBytes = headDim * sizeof<T>();
  for (let j = begin; j < end;) {
    const next = min<usize>(end, (j | (PAGE_TOKENS - 1)) + 1);
    mixRun<T>(out, weights + 4 * j, weights + 4 * next, rowAt(pages, values, j, valueBytes), headDim);
    j = next;
  }
}

/** out[d] += Σ weight · value[d] over the weights in [w0, wEnd) and values one behind the other. */
function mixRun<T>(out: usize, w0: usize, wEnd: usize, first: usize, headDim: usize): void {
  const valueBytes = headDim * sizeof<T>();
  let d: usize = 0;
  for (; d + 16 <= headDim; d += 16) {
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
  for (; d + 4 <= headDim; d += 4) {
    let a = v128.load(out + 4 * d);
    let p = first + d * sizeof<T>();
    for (let w = w0; w < wEnd; w += 4) {
      a = addProduct(a, v128.load32_splat(w), load4<T>(p));
      p += valueBytes;
    }
    v128.store(out + 4 * d, a);
  }
  for (; d < headDim; d++) {
    let a = load<f32>(out + 4 * d);
    let p = first + d * sizeof<T>();
    for (let w = w0; w < wEnd; w += 4) {
      a += load<f32>(w) * load1<T>(p);
      p += valueBytes;
    }
    store<f32>(out + 4 * d, a);
  }
}

/** The same for four queries, begin even: two values at a time. */
function mixFour<T>(
  out: usize, stride: usize, weights: usize, rowStride: usize, pages: usize, values: usize, headDim: usize,
  begin: usize, end: usize,
): void {
  const valueBytes = headDim * sizeof<T>();
  const bulk = headDim & ~3;
  const out1 = out + stride, out2 = out1 + stride, out3 = out2 + stride;
  const pairs = end & ~1;
  for (let j = begin; j < pairs; j += 2) {
    const p = rowAt(pages, values, j, valueBytes);
    const w = weights + 4 * j, w1 = w + rowStride, w2 = w1 + rowStride, w3 = w2 + rowStride;
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
  }
  for (let t: usize = 0; t < 4; t++) {
    mixOne<T>(out + t * stride, weights + t * rowStride, pages, values, headDim, pairs, end);
  }
}
