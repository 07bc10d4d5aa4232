/**
 * Products of int8 rows with one or a few 12-bit integer vectors; batch-product.ts has those of many.
 *
 * The sum is exact, so its order is free: i32 in each lane (at most 16512 columns: cols/4 · 127 · 4095 < 2^31), i64 over
 * the lanes, rounded once to f32. The caller multiplies with the scales. Rows come from distant parts of the range, as in
 * row-product.ts: four, or twelve for one vector and scattered rows (row-product.ts says why). Short rows are neighbours.
 */
import { sumEach } from "./block-bytes";
import { rowPointer, touchFour } from "./row-product";

/**
 * Columns up to which gapless rows are neighbours for one vector, as in W2 of a predictor. Rows a multiple of 4096 bytes apart, as distant parts of most matrices
 * are, get in each other's way in the first-level cache: 1024 rows of 64 took 4.6 us there, and take 2.9. From DRAM longer neighbours are slower, at 512 columns
 * by a factor of four.
 */
const SHORT_MOST: usize = 128;
/** Lengths of gapless rows at which two streams beat four for one vector: 92 against 84 % of the read loop at 4096 columns. */
const TWO_STREAMS_ABOVE: usize = 2048;
const TWO_STREAMS_MOST: usize = 6144;

/** out[t, i] = f32(row(i) · q[t]) for i in [begin, end). q: i16, `qStride` bytes apart; cols a multiple of 16. */
export function rowProductsInt8(
  out: usize, outStride: usize, q: usize, qStride: usize, nTokens: usize,
  base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): void {
  if (nTokens == 1 && !slots && cols > TWO_STREAMS_ABOVE && cols <= TWO_STREAMS_MOST) {
    begin = twoStreams(out, q, base, stride, slots, begin, end, cols);
  }
  if (nTokens == 1 && slots) begin = twelveStreams(out, q, base, stride, slots, begin, end, cols);
  if (nTokens == 1 && !slots && cols <= SHORT_MOST) begin = shortRows(out, q, base, stride, begin, end, cols);
  const part = (end - begin) / 4;
  const blocked = nTokens & ~3;
  for (let i = begin; i < begin + part; i++) {
    const p0 = rowPointer(base, stride, slots, i);
    const p1 = rowPointer(base, stride, slots, i + part);
    const p2 = rowPointer(base, stride, slots, i + 2 * part);
    const p3 = rowPointer(base, stride, slots, i + 3 * part);
    if (slots) touchFour(base, stride, slots, min<usize>(i + 1, begin + part - 1), part);
    const fromDram: usize = slots && blocked ? 4 : 0;
    for (let t: usize = 0; t < fromDram; t += 2) {
      const at = out + t * outStride + 4 * i;
      tile4x2(at, 4 * part, outStride, q + t * qStride, qStride, p0, p1, p2, p3, cols);
    }
    for (let t = fromDram; t < blocked; t += 4) {
      const at = out + t * outStride + 4 * i;
      tile2x4(at, 4 * part, outStride, q + t * qStride, qStride, p0, p1, cols);
      tile2x4(at + 8 * part, 4 * part, outStride, q + t * qStride, qStride, p2, p3, cols);
    }
    let t = blocked;
    if (t + 2 <= nTokens) {
      tile4x2(out + t * outStride + 4 * i, 4 * part, outStride, q + t * qStride, qStride, p0, p1, p2, p3, cols);
      t += 2;
    }
    if (t < nTokens) {
      tile4x1(out + t * outStride + 4 * i, 4 * part, q + t * qStride, p0, p1, p2, p3, cols);
    }
  }
  for (let i = begin + 4 * part; i < end; i++) {
    const p = rowPointer(base, stride, slots, i);
    for (let t: usize = 0; t < nTokens; t++) tile1x1(out + t * outStride + 4 * i, q + t * qStride, p, cols);
  }
}

/** Two rows at a time for one vector; returns the first row that is left. */
function twoStreams(
  out: usize, q: usize, base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): usize {
  const part = (end - begin) / 2;
  for (let i = begin; i < begin + part; i++) {
    const p0 = rowPointer(base, stride, slots, i), p1 = rowPointer(base, stride, slots, i + part);
    tile2x1(out + 4 * i, 4 * part, q, p0, p1, cols);
  }
  return begin + 2 * part;
}

/** Four neighbouring rows at a time for one vector; returns the first row that is left. Whole sums fit i32. */
function shortRows(out: usize, q: usize, base: usize, stride: usize, begin: usize, end: usize, cols: usize): usize {
  const stop = begin + ((end - begin) & ~3);
  const qEnd = q + 2 * cols;
  for (let i = begin; i < stop; i += 4) {
    let p0 = base + i * stride, p1 = p0 + stride, p2 = p1 + stride, p3 = p2 + stride;
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
    for (let x = q; x < qEnd; x += 32) {
      const u = v128.load(x), v = v128.load(x, 16);
      a0 = addDot(addDot(a0, p0, u), p0 + 8, v);
      a1 = addDot(addDot(a1, p1, u), p1 + 8, v);
      a2 = addDot(addDot(a2, p2, u), p2 + 8, v);
      a3 = addDot(addDot(a3, p3, u), p3 + 8, v);
      p0 += 16; p1 += 16; p2 += 16; p3 += 16;
    }
    v128.store(out + 4 * i, f32x4.convert_i32x4_s(sumEach(a0, a1, a2, a3)));
  }
  return stop;
}

/** Twelve rows at a time for one vector; returns the first row that is left. */
function twelveStreams(
  out: usize, q: usize, base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): usize {
  const part = (end - begin) / 12;
  for (let i = begin; i < begin + part; i++) {
    tile12x1(
      out + 4 * i, 4 * part, q,
      rowPointer(base, stride, slots, i), rowPointer(base, stride, slots, i + part),
      rowPointer(base, stride, slots, i + 2 * part), rowPointer(base, stride, slots, i + 3 * part),
      rowPointer(base, stride, slots, i + 4 * part), rowPointer(base, stride, slots, i + 5 * part),
      rowPointer(base, stride, slots, i + 6 * part), rowPointer(base, stride, slots, i + 7 * part),
      rowPointer(base, stride, slots, i + 8 * part), rowPointer(base, stride, slots, i + 9 * part),
      rowPointer(base, stride, slots, i + 10 * part), rowPointer(base, stride, slots, i + 11 * part),
      cols,
    );
  }
  return begin + 12 * part;
}

/** sum + the pairwise products of eight int8 at `p` with eight int16. */
@inline
function addDot(sum: v128, p: usize, x: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(v128.load8x8_s(p), x));
}

@inline
export function storeSum(out: usize, a: v128): void {
  const sum =
    <i64>i32x4.extract_lane(a, 0) + <i64>i32x4.extract_lane(a, 1) +
    (<i64>i32x4.extract_lane(a, 2) + <i64>i32x4.extract_lane(a, 3));
  store<f32>(out, <f32>sum);
}

/** sum + the products of 32 int8 at `p` with 32 int16 at `q`. */
@inline
function addDots(sum: v128, p: usize, q: usize): v128 {
  sum = i32x4.add(sum, i32x4.dot_i16x8_s(v128.load8x8_s(p), v128.load(q)));
  sum = i32x4.add(sum, i32x4.dot_i16x8_s(v128.load8x8_s(p, 8), v128.load(q, 16)));
  sum = i32x4.add(sum, i32x4.dot_i16x8_s(v128.load8x8_s(p, 16), v128.load(q, 32)));
  return i32x4.add(sum, i32x4.dot_i16x8_s(v128.load8x8_s(p, 24), v128.load(q, 48)));
}

/** Twelve rows, one vector. No row is at 0: the branches end blocks, see row-product.ts. */
function tile12x1(
  out: usize, gap: usize, q: usize,
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize,
  p6: usize, p7: usize, p8: usize, p9: usize, p10: usize, p11: usize, cols: usize,
): void {
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0;
  let a6 = a0, a7 = a0, a8 = a0, a9 = a0, a10 = a0, a11 = a0;
  const bulk = cols & ~31;
  for (let k: usize = 0; k < bulk; k += 32) {
    a0 = addDots(a0, p0 + k, q);
    if (!p0) break;
    a1 = addDots(a1, p1 + k, q);
    if (!p1) break;
    a2 = addDots(a2, p2 + k, q);
    if (!p2) break;
    a3 = addDots(a3, p3 + k, q);
    if (!p3) break;
    a4 = addDots(a4, p4 + k, q);
    if (!p4) break;
    a5 = addDots(a5, p5 + k, q);
    if (!p5) break;
    a6 = addDots(a6, p6 + k, q);
    if (!p6) break;
    a7 = addDots(a7, p7 + k, q);
    if (!p7) break;
    a8 = addDots(a8, p8 + k, q);
    if (!p8) break;
    a9 = addDots(a9, p9 + k, q);
    if (!p9) break;
    a10 = addDots(a10, p10 + k, q);
    if (!p10) break;
    a11 = addDots(a11, p11 + k, q);
    q += 64;
  }
  if (bulk < cols) {
    const u = v128.load(q), v = v128.load(q, 16);
    a0 = addDot(addDot(a0, p0 + bulk, u), p0 + bulk + 8, v);
    a1 = addDot(addDot(a1, p1 + bulk, u), p1 + bulk + 8, v);
    a2 = addDot(addDot(a2, p2 + bulk, u), p2 + bulk + 8, v);
    a3 = addDot(addDot(a3, p3 + bulk, u), p3 + bulk + 8, v);
    a4 = addDot(addDot(a4, p4 + bulk, u), p4 + bulk + 8, v);
    a5 = addDot(addDot(a5, p5 + bulk, u), p5 + bulk + 8, v);
    a6 = addDot(addDot(a6, p6 + bulk, u), p6 + bulk + 8, v);
    a7 = addDot(addDot(a7, p7 + bulk, u), p7 + bulk + 8, v);
    a8 = addDot(addDot(a8, p8 + bulk, u), p8 + bulk + 8, v);
    a9 = addDot(addDot(a9, p9 + bulk, u), p9 + bulk + 8, v);
    a10 = addDot(addDot(a10, p10 + bulk, u), p10 + bulk + 8, v);
    a11 = addDot(addDot(a11, p11 + bulk, u), p11 + bulk + 8, v);
  }
  storeSum(out, a0);
  storeSum(out + gap, a1);
  storeSum(out + 2 * gap, a2);
  storeSum(out + 3 * gap, a3);
  storeSum(out + 4 * gap, a4);
  storeSum(out + 5 * gap, a5);
  storeSum(out + 6 * gap, a6);
  storeSum(out + 7 * gap, a7);
  storeSum(out + 8 * gap, a8);
  storeSum(out + 9 * gap, a9);
  storeSum(out + 10 * gap, a10);
  storeSum(out + 11 * gap, a11);
}

function tile4x1(out: usize, gap: usize, q: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize): void {
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
  const end = q + 2 * cols;
  for (; q < end; q += 32) {
    const u = v128.load(q), v = v128.load(q, 16);
    a0 = addDot(addDot(a0, p0, u), p0 + 8, v);
    a1 = addDot(addDot(a1, p1, u), p1 + 8, v);
    a2 = addDot(addDot(a2, p2, u), p2 + 8, v);
    a3 = addDot(addDot(a3, p3, u), p3 + 8, v);
    p0 += 16; p1 += 16; p2 += 16; p3 += 16;
  }
  storeSum(out, a0);
  storeSum(out + gap, a1);
  storeSum(out + 2 * gap, a2);
  storeSum(out + 3 * gap, a3);
}

function tile2x1(out: usize, gap: usize, q: usize, p0: usize, p1: usize, cols: usize): void {
  let a = i32x4.splat(0), b = a;
  const end = q + 2 * cols;
  for (; q < end; q += 32) {
    const u = v128.load(q), v = v128.load(q, 16);
    a = addDot(addDot(a, p0, u), p0 + 8, v);
    b = addDot(addDot(b, p1, u), p1 + 8, v);
    p0 += 16; p1 += 16;
  }
  storeSum(out, a);
  storeSum(out + gap, b);
}

function tile1x1(out: usize, q: usize, p: usize, cols: usize): void {
  let a = i32x4.splat(0), b = a;
  const end = q + 2 * cols;
  for (; q < end; q += 32) {
    a = addDot(a, p, v128.load(q));
    b = addDot(b, p + 8, v128.load(q, 16));
    p += 16;
  }
  storeSum(out, i32x4.add(a, b));
}

/** Four rows, two vectors. */
function tile4x2(
  out: usize, gap: usize, outStride: usize, q: usize, qStride: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize,
): void {
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  const end = q + 2 * cols;
  let r = q + qStride;
  for (; q < end; q += 16) {
    const u = v128.load(q), v = v128.load(r);
    let w = v128.load8x8_s(p0);
    a0 = i32x4.add(a0, i32x4.dot_i16x8_s(w, u)); b0 = i32x4.add(b0, i32x4.dot_i16x8_s(w, v));
    w = v128.load8x8_s(p1);
    a1 = i32x4.add(a1, i32x4.dot_i16x8_s(w, u)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(w, v));
    w = v128.load8x8_s(p2);
    a2 = i32x4.add(a2, i32x4.dot_i16x8_s(w, u)); b2 = i32x4.add(b2, i32x4.dot_i16x8_s(w, v));
    w = v128.load8x8_s(p3);
    a3 = i32x4.add(a3, i32x4.dot_i16x8_s(w, u)); b3 = i32x4.add(b3, i32x4.dot_i16x8_s(w, v));
    p0 += 8; p1 += 8; p2 += 8; p3 += 8; r += 16;
  }
  storeSum(out, a0); storeSum(out + gap, a1); storeSum(out + 2 * gap, a2); storeSum(out + 3 * gap, a3);
  out += outStride;
  storeSum(out, b0); storeSum(out + gap, b1); storeSum(out + 2 * gap, b2); storeSum(out + 3 * gap, b3);
}

/** Two rows, four vectors. */
function tile2x4(
  out: usize, gap: usize, outStride: usize, q: usize, qStride: usize, p0: usize, p1: usize, cols: usize,
): void {
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  const end = q + 2 * cols;
  let q1 = q + qStride, q2 = q1 + qStride, q3 = q2 + qStride;
  for (; q < end; q += 16) {
    const w = v128.load8x8_s(p0), z = v128.load8x8_s(p1);
    let u = v128.load(q);
    a0 = i32x4.add(a0, i32x4.dot_i16x8_s(w, u)); b0 = i32x4.add(b0, i32x4.dot_i16x8_s(z, u));
    u = v128.load(q1);
    a1 = i32x4.add(a1, i32x4.dot_i16x8_s(w, u)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(z, u));
    u = v128.load(q2);
    a2 = i32x4.add(a2, i32x4.dot_i16x8_s(w, u)); b2 = i32x4.add(b2, i32x4.dot_i16x8_s(z, u));
    u = v128.load(q3);
    a3 = i32x4.add(a3, i32x4.dot_i16x8_s(w, u)); b3 = i32x4.add(b3, i32x4.dot_i16x8_s(z, u));
    p0 += 8; p1 += 8; q1 += 16; q2 += 16; q3 += 16;
  }
  storeSum(out, a0); storeSum(out + gap, b0);
  storeSum(out + outStride, a1); storeSum(out + outStride + gap, b1);
  storeSum(out + 2 * outStride, a2); storeSum(out + 2 * outStride + gap, b2);
  storeSum(out + 3 * outStride, a3); storeSum(out + 3 * outStride + gap, b3);
}
