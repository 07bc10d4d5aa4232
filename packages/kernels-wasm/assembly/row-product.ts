/**
 * Products of f32, f16 and bf16 rows with one or a few vectors: the inner loops of `linear`, `ffnUp` and `gemmTransposed`.
 * batch-product.ts has those of many.
 *
 * Order of summation: one f32x4 accumulator from +0 for each output element, four columns a step, ascending (16-bit
 * types: eight columns as four even, then four odd ones), then sumLanes. How rows and tokens are grouped into tiles changes
 * nothing in it.
 *
 * Rows far apart. A tile takes its rows from four equal parts of the range, not four neighbours: each part is then one
 * sequential stream, which the hardware prefetcher follows past the end of a row. Neighbours in lockstep make every
 * stream jump at every row end: 20-40 % slower (bench/kernels.bench.mjs).
 *
 * Half: x is scaled by 2^64 (vector.ts), so sums are 2^-48 times their value; the caller takes it back.
 */
import { addProduct, first8, second8, sumLanes, weightLift, weightMask } from "./element";

/** Vectors of one pass over the rows: they should stay in the second-level cache. */
const PASS_BYTES: usize = 256 * 1024;
/** From this row length on, 16-bit rows run in eight streams: the vector no longer stays in the first-level cache. */
const EIGHT_STREAMS_COLS: usize = 4096;

/** Where row `i` stands: at `base + i · stride`, or, if slots are given, at `base + slots[i] · stride`. */
@inline
export function rowPointer(base: usize, stride: usize, slots: usize, i: usize): usize {
  return base + (slots ? <usize>load<u32>(slots + 4 * i) : i) * stride;
}

/** Asks for a cache line ahead of its use. The load stays in the compiled code, as it might trap. */
@inline
export function touch(p: usize): void {
  load<u8>(p);
}

/**
 * Touches the first lines of four rows, `part` apart. Slots are scattered, and the prefetcher notices a row only while it is
 * read: int8 20 % faster. (A loop over the four was not.)
 */
@inline
export function touchFour(base: usize, stride: usize, slots: usize, i: usize, part: usize): void {
  touch(rowPointer(base, stride, slots, i));
  touch(rowPointer(base, stride, slots, i + part));
  touch(rowPointer(base, stride, slots, i + 2 * part));
  touch(rowPointer(base, stride, slots, i + 3 * part));
}

/**
 * out[t, i] = row(i) · x[t] for i in [begin, end).
 *
 * @param out  f32, vectors `outStride` bytes apart.
 * @param x    f32 in the order of first8/second8, `xStride` bytes apart.
 * @param cols A multiple of 16; f32: of 4.
 */
export function rowProducts<T>(
  out: usize, outStride: usize, x: usize, xStride: usize, nTokens: usize,
  base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): void {
  if (nTokens == 1 && !isFloat<T>() && cols >= EIGHT_STREAMS_COLS) {
    begin = eightStreams<T>(out, x, base, stride, slots, begin, end, cols);
  }
  let perPass = max<usize>(4, (PASS_BYTES / xStride) & ~3);
  for (let t: usize = 0; t < nTokens; t += perPass) {
    fourStreams<T>(
      out + t * outStride, outStride, x + t * xStride, xStride, min<usize>(perPass, nTokens - t),
      base, stride, slots, begin, end, cols,
    );
  }
}

/** All rows of the range with a few vectors. */
function fourStreams<T>(
  out: usize, outStride: usize, x: usize, xStride: usize, nTokens: usize,
  base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): void {
  const part = (end - begin) / 4;
  const blocked = nTokens & ~3;
  for (let i = begin; i < begin + part; i++) {
    const p0 = rowPointer(base, stride, slots, i);
    const p1 = rowPointer(base, stride, slots, i + part);
    const p2 = rowPointer(base, stride, slots, i + 2 * part);
    const p3 = rowPointer(base, stride, slots, i + 3 * part);
    if (slots) touchFour(base, stride, slots, min<usize>(i + 1, begin + part - 1), part);
    for (let t: usize = 0; t < blocked; t += 4) {
      const at = out + t * outStride + 4 * i;
      tile2x4<T>(at, 4 * part, outStride, x + t * xStride, xStride, p0, p1, cols);
      tile2x4<T>(at + 8 * part, 4 * part, outStride, x + t * xStride, xStride, p2, p3, cols);
    }
    for (let t = blocked; t < nTokens; t++) {
      tile4x1<T>(out + t * outStride + 4 * i, 4 * part, x + t * xStride, p0, p1, p2, p3, cols);
    }
  }
  for (let i = begin + 4 * part; i < end; i++) {
    const p = rowPointer(base, stride, slots, i);
    for (let t: usize = 0; t < nTokens; t++) tile1x1<T>(out + t * outStride + 4 * i, x + t * xStride, p, cols);
  }
}

/** Eight rows at a time for one vector; returns the first row that is left. */
function eightStreams<T>(
  out: usize, x: usize, base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): usize {
  const part = (end - begin) / 8;
  for (let i = begin; i < begin + part; i++) {
    if (slots) {
      const later = min<usize>(i + 1, begin + part - 1);
      touchFour(base, stride, slots, later, part);
      touchFour(base, stride, slots, later + 4 * part, part);
    }
    tile8x1<T>(
      out + 4 * i, 4 * part, x,
      rowPointer(base, stride, slots, i), rowPointer(base, stride, slots, i + part),
      rowPointer(base, stride, slots, i + 2 * part), rowPointer(base, stride, slots, i + 3 * part),
      rowPointer(base, stride, slots, i + 4 * part), rowPointer(base, stride, slots, i + 5 * part),
      rowPointer(base, stride, slots, i + 6 * part), rowPointer(base, stride, slots, i + 7 * part),
      cols,
    );
  }
  return begin + 8 * part;
}

/** Four rows, one vector. Outputs are `gap` bytes apart. */
function tile4x1<T>(out: usize, gap: usize, x: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize): void {
  const mask = weightMask<T>(), lift = weightLift<T>();
  let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
  const end = x + 4 * cols;
  const bulkEnd = x + 4 * (cols & ~7);
  for (; x < bulkEnd; x += 32) {
    const u = v128.load(x), v = v128.load(x, 16);
    let h = v128.load(p0);
    a0 = addProduct(addProduct(a0, first8<T>(h, mask, lift), u), second8<T>(h, p0, mask), v);
    h = v128.load(p1);
    a1 = addProduct(addProduct(a1, first8<T>(h, mask, lift), u), second8<T>(h, p1, mask), v);
    h = v128.load(p2);
    a2 = addProduct(addProduct(a2, first8<T>(h, mask, lift), u), second8<T>(h, p2, mask), v);
    h = v128.load(p3);
    a3 = addProduct(addProduct(a3, first8<T>(h, mask, lift), u), second8<T>(h, p3, mask), v);
    p0 += 8 * sizeof<T>(); p1 += 8 * sizeof<T>(); p2 += 8 * sizeof<T>(); p3 += 8 * sizeof<T>();
  }
  if (isFloat<T>()) {
    for (; x < end; x += 16) {
      const u = v128.load(x);
      a0 = addProduct(a0, v128.load(p0), u);
      a1 = addProduct(a1, v128.load(p1), u);
      a2 = addProduct(a2, v128.load(p2), u);
      a3 = addProduct(a3, v128.load(p3), u);
      p0 += 16; p1 += 16; p2 += 16; p3 += 16;
    }
  }
  store<f32>(out, sumLanes(a0));
  store<f32>(out + gap, sumLanes(a1));
  store<f32>(out + 2 * gap, sumLanes(a2));
  store<f32>(out + 3 * gap, sumLanes(a3));
}

/** One row, one vector. */
function tile1x1<T>(out: usize, x: usize, p: usize, cols: usize): void {
  const mask = weightMask<T>(), lift = weightLift<T>();
  let a = f32x4.splat(0);
  const end = x + 4 * cols;
  const bulkEnd = x + 4 * (cols & ~7);
  for (; x < bulkEnd; x += 32) {
    const h = v128.load(p);
    a = addProduct(addProduct(a, first8<T>(h, mask, lift), v128.load(x)), second8<T>(h, p, mask), v128.load(x, 16));
    p += 8 * sizeof<T>();
  }
  if (isFloat<T>()) {
    for (; x < end; x += 16) {
      a = addProduct(a, v128.load(p), v128.load(x));
      p += 16;
    }
  }
  store<f32>(out, sumLanes(a));
}

/** Two rows, four vectors: eight accumulators. */
function tile2x4<T>(
  out: usize, gap: usize, outStride: usize, x: usize, xStride: usize, p0: usize, p1: usize, cols: usize,
): void {
  const mask = weightMask<T>(), lift = weightLift<T>();
  let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  let x1 = x + xStride, x2 = x1 + xStride, x3 = x2 + xStride;
  for (const end = x + 4 * cols; x < end; x += 16) {
    const g = v128.load(p0), h = v128.load(p1);
    let w = first8<T>(g, mask, lift), z = first8<T>(h, mask, lift);
    let u = v128.load(x);
    a0 = addProduct(a0, w, u); b0 = addProduct(b0, z, u);
    u = v128.load(x1);
    a1 = addProduct(a1, w, u); b1 = addProduct(b1, z, u);
    u = v128.load(x2);
    a2 = addProduct(a2, w, u); b2 = addProduct(b2, z, u);
    u = v128.load(x3);
    a3 = addProduct(a3, w, u); b3 = addProduct(b3, z, u);
    if (!isFloat<T>()) {
      x += 16; x1 += 16; x2 += 16; x3 += 16;
      w = second8<T>(g, p0, mask); z = second8<T>(h, p1, mask);
      u = v128.load(x);
      a0 = addProduct(a0, w, u); b0 = addProduct(b0, z, u);
      u = v128.load(x1);
      a1 = addProduct(a1, w, u); b1 = addProduct(b1, z, u);
      u = v128.load(x2);
      a2 = addProduct(a2, w, u); b2 = addProduct(b2, z, u);
      u = v128.load(x3);
      a3 = addProduct(a3, w, u); b3 = addProduct(b3, z, u);
    }
    p0 += 16; p1 += 16; x1 += 16; x2 += 16; x3 += 16;
  }
  storePair(out, gap, a0, b0);
  storePair(out + outStride, gap, a1, b1);
  storePair(out + 2 * outStride, gap, a2, b2);
  storePair(out + 3 * outStride, gap, a3, b3);
}

@inline
function storePair(out: usize, gap: usize, a: v128, b: v128): void {
  store<f32>(out, sumLanes(a));
  store<f32>(out + gap, sumLanes(b));
}

/** Eight rows, one vector; 16-bit types. */
function tile8x1<T>(
  out: usize, gap: usize, x: usize,
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize, p6: usize, p7: usize, cols: usize,
): void {
  const mask = weightMask<T>(), lift = weightLift<T>();
  let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
  const bytes = cols * sizeof<T>();
  for (let k: usize = 0; k < bytes; k += 8 * sizeof<T>()) {
    const u = v128.load(x), v = v128.load(x, 16);
    let h = v128.load(p0 + k);
    a0 = addProduct(addProduct(a0, first8<T>(h, mask, lift), u), second8<T>(h, p0 + k, mask), v);
    h = v128.load(p1 + k);
    a1 = addProduct(addProduct(a1, first8<T>(h, mask, lift), u), second8<T>(h, p1 + k, mask), v);
    h = v128.load(p2 + k);
    a2 = addProduct(addProduct(a2, first8<T>(h, mask, lift), u), second8<T>(h, p2 + k, mask), v);
    h = v128.load(p3 + k);
    a3 = addProduct(addProduct(a3, first8<T>(h, mask, lift), u), second8<T>(h, p3 + k, mask), v);
    h = v128.load(p4 + k);
    a4 = addProduct(addProduct(a4, first8<T>(h, mask, lift), u), second8<T>(h, p4 + k, mask), v);
    h = v128.load(p5 + k);
    a5 = addProduct(addProduct(a5, first8<T>(h, mask, lift), u), second8<T>(h, p5 + k, mask), v);
    h = v128.load(p6 + k);
    a6 = addProduct(addProduct(a6, first8<T>(h, mask, lift), u), second8<T>(h, p6 + k, mask), v);
    h = v128.load(p7 + k);
    a7 = addProduct(addProduct(a7, first8<T>(h, mask, lift), u), second8<T>(h, p7 + k, mask), v);
    x += 32;
  }
  storePair(out, gap, a0, a1);
  storePair(out + 2 * gap, gap, a2, a3);
  storePair(out + 4 * gap, gap, a4, a5);
  storePair(out + 6 * gap, gap, a6, a7);
}
