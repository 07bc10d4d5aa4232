/**
 * Products of f32, f16 and bf16 rows with one or a few vectors: the inner loops of `linear`, `ffnUp` and `gemmTransposed`.
 * batch-product.ts has those of many.
 *
 * Order of summation: one f32x4 accumulator from +0 for each output element, four columns a step, ascending (16-bit
 * types: eight columns as four even, then four odd ones), then sumLanes. How rows and tokens are grouped into tiles changes
 * nothing in it.
 *
 * Rows far apart. A tile takes its rows from equal parts of the range, not neighbours: each part is then one
 * sequential stream, which the hardware prefetcher follows past the end of a row. Neighbours in lockstep make every
 * stream jump at every row end: 20-40 % slower (bench/kernels.bench.mjs).
 *
 * Scattered rows, one vector. WebAssembly has no prefetch instruction, and a load that only touches a line does not retire before
 * the line has come: touching more than the first line of a row holds up what it should speed up. What overlaps the waits is the
 * hardware prefetcher, which follows a dozen rows at once and loses track above sixteen. Cold int8 rows of 4096 columns: 8.0 GB/s in
 * four streams, 11.4 in eight, 13.6 in twelve (Zen 5). A wait holds as much work as the reorder buffer has room for, so the other
 * half of the speed is few instructions for each line. Hence:
 *
 * Branches that are never taken. TurboFan (V8 11) moves every load of a basic block to its front, and with twelve rows what was
 * loaded is spilled to the stack. `if (!p) break`, where p points to a row and so is not 0, ends the block for one instruction: int8 products
 * in twelve streams run at 33 instead of 22 GB/s from the cache. Each p is tested once, since a second test is folded into the first.
 * Sums are used after the loop, since sums that are not would be computed behind the last branch.
 *
 * Half: x is scaled by 2^64 (vector.ts), so sums are 2^-48 times their value; the caller takes it back.
 */
import { addProduct, first8, second8, sumLanes, weightLift, weightMask } from "./element";

/** Vectors of one pass over the rows: they should stay in the second-level cache. */
const PASS_BYTES: usize = 256 * 1024;

/** Where row `i` stands: at `base + i · stride`, or, if slots are given, at `base + slots[i] · stride`. */
@inline
export function rowPointer(base: usize, stride: usize, slots: usize, i: usize): usize {
  return base + (slots ? <usize>load<u32>(slots + 4 * i) : i) * stride;
}

/** The first neuron from `i` on that is not zero; at least `end` if there is none. */
@inline
export function nextActive(act: usize, i: usize, end: usize): usize {
  while (i < end && load<f32>(act + 4 * i) == 0) i++;
  return i;
}

/** Asks for a cache line ahead of its use. The load stays in the compiled code, as it might trap. */
@inline
export function touch(p: usize): void {
  load<u8>(p);
}

/**
 * Touches the first lines of four rows, `part` apart. Slots are scattered, and the prefetcher notices a row only while it is
 * read: several vectors 5 % faster. (A loop over the four was not.)
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
  if (nTokens == 1 && slots) begin = twelveStreams<T>(out, x, base, stride, slots, begin, end, cols);
  let perPass = max<usize>(4, (PASS_BYTES / xStride) & ~3);
  for (let t: usize = 0; t < nTokens; t += perPass) {
    fourStreams<T>(
      out + t * outStride, outStride, x + t * xStride, xStride, min<usize>(perPass, nTokens - t),
      base, stride, slots, begin, end, cols,
    );
  }
}

/**
 * All rows of the range with a few vectors, two rows with four vectors at a time. Scattered rows meet their first four vectors in
 * fours: two streams from DRAM would be few.
 */
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
    const fromDram: usize = slots && blocked ? 4 : 0;
    for (let t: usize = 0; t < fromDram; t += 2) {
      const at = out + t * outStride + 4 * i;
      tile4x2<T>(at, 4 * part, outStride, x + t * xStride, xStride, p0, p1, p2, p3, cols);
    }
    for (let t = fromDram; t < blocked; t += 4) {
      const at = out + t * outStride + 4 * i;
      tile2x4<T>(at, 4 * part, outStride, x + t * xStride, xStride, p0, p1, cols);
      tile2x4<T>(at + 8 * part, 4 * part, outStride, x + t * xStride, xStride, p2, p3, cols);
    }
    let t = blocked;
    if (t + 2 <= nTokens) {
      tile4x2<T>(out + t * outStride + 4 * i, 4 * part, outStride, x + t * xStride, xStride, p0, p1, p2, p3, cols);
      t += 2;
    }
    if (t < nTokens) {
      tile4x1<T>(out + t * outStride + 4 * i, 4 * part, x + t * xStride, p0, p1, p2, p3, cols);
    }
  }
  for (let i = begin + 4 * part; i < end; i++) {
    const p = rowPointer(base, stride, slots, i);
    for (let t: usize = 0; t < nTokens; t++) tile1x1<T>(out + t * outStride + 4 * i, x + t * xStride, p, cols);
  }
}

/** Twelve rows at a time for one vector; returns the first row that is left. */
function twelveStreams<T>(
  out: usize, x: usize, base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): usize {
  const part = (end - begin) / 12;
  for (let i = begin; i < begin + part; i++) {
    tile12x1<T>(
      out + 4 * i, 4 * part, x,
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

/** Four rows, two vectors. */
function tile4x2<T>(
  out: usize, gap: usize, outStride: usize, x: usize, xStride: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize,
): void {
  const mask = weightMask<T>(), lift = weightLift<T>();
  let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  let y = x + xStride;
  for (const end = x + 4 * (cols & ~7); x < end; x += 32) {
    const u = v128.load(x), v = v128.load(x, 16), s = v128.load(y), t = v128.load(y, 16);
    let h = v128.load(p0), w = first8<T>(h, mask, lift), z = second8<T>(h, p0, mask);
    a0 = addProduct(addProduct(a0, w, u), z, v); b0 = addProduct(addProduct(b0, w, s), z, t);
    if (!p0) break;
    h = v128.load(p1); w = first8<T>(h, mask, lift); z = second8<T>(h, p1, mask);
    a1 = addProduct(addProduct(a1, w, u), z, v); b1 = addProduct(addProduct(b1, w, s), z, t);
    if (!p1) break;
    h = v128.load(p2); w = first8<T>(h, mask, lift); z = second8<T>(h, p2, mask);
    a2 = addProduct(addProduct(a2, w, u), z, v); b2 = addProduct(addProduct(b2, w, s), z, t);
    if (!p2) break;
    h = v128.load(p3); w = first8<T>(h, mask, lift); z = second8<T>(h, p3, mask);
    a3 = addProduct(addProduct(a3, w, u), z, v); b3 = addProduct(addProduct(b3, w, s), z, t);
    p0 += 8 * sizeof<T>(); p1 += 8 * sizeof<T>(); p2 += 8 * sizeof<T>(); p3 += 8 * sizeof<T>();
    y += 32;
  }
  if (isFloat<T>() && cols & 4) {
    const u = v128.load(x), s = v128.load(y);
    let w = v128.load(p0);
    a0 = addProduct(a0, w, u); b0 = addProduct(b0, w, s);
    w = v128.load(p1);
    a1 = addProduct(a1, w, u); b1 = addProduct(b1, w, s);
    w = v128.load(p2);
    a2 = addProduct(a2, w, u); b2 = addProduct(b2, w, s);
    w = v128.load(p3);
    a3 = addProduct(a3, w, u); b3 = addProduct(b3, w, s);
  }
  storePair(out, gap, a0, a1);
  storePair(out + 2 * gap, gap, a2, a3);
  storePair(out + outStride, gap, b0, b1);
  storePair(out + outStride + 2 * gap, gap, b2, b3);
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
    if (!p0) break;
    u = v128.load(x2);
    a2 = addProduct(a2, w, u); b2 = addProduct(b2, z, u);
    u = v128.load(x3);
    a3 = addProduct(a3, w, u); b3 = addProduct(b3, z, u);
    if (!isFloat<T>()) {
      if (!p1) break;
      x += 16; x1 += 16; x2 += 16; x3 += 16;
      w = second8<T>(g, p0, mask); z = second8<T>(h, p1, mask);
      u = v128.load(x);
      a0 = addProduct(a0, w, u); b0 = addProduct(b0, z, u);
      u = v128.load(x1);
      a1 = addProduct(a1, w, u); b1 = addProduct(b1, z, u);
      if (!x1) break;
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

/** Twelve rows, one vector. No row is at 0: the branches end blocks, see above. */
function tile12x1<T>(
  out: usize, gap: usize, x: usize,
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize,
  p6: usize, p7: usize, p8: usize, p9: usize, p10: usize, p11: usize, cols: usize,
): void {
  const mask = weightMask<T>(), lift = weightLift<T>();
  let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0;
  let a6 = a0, a7 = a0, a8 = a0, a9 = a0, a10 = a0, a11 = a0;
  const bulk = (cols & ~7) * sizeof<T>();
  let p: usize, h: v128;
  for (let k: usize = 0; k < bulk; k += 8 * sizeof<T>()) {
    const u = v128.load(x), v = v128.load(x, 16);
    p = p0 + k; h = v128.load(p);
    a0 = addProduct(addProduct(a0, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p0) break;
    p = p1 + k; h = v128.load(p);
    a1 = addProduct(addProduct(a1, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p1) break;
    p = p2 + k; h = v128.load(p);
    a2 = addProduct(addProduct(a2, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p2) break;
    p = p3 + k; h = v128.load(p);
    a3 = addProduct(addProduct(a3, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p3) break;
    p = p4 + k; h = v128.load(p);
    a4 = addProduct(addProduct(a4, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p4) break;
    p = p5 + k; h = v128.load(p);
    a5 = addProduct(addProduct(a5, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p5) break;
    p = p6 + k; h = v128.load(p);
    a6 = addProduct(addProduct(a6, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p6) break;
    p = p7 + k; h = v128.load(p);
    a7 = addProduct(addProduct(a7, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p7) break;
    p = p8 + k; h = v128.load(p);
    a8 = addProduct(addProduct(a8, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p8) break;
    p = p9 + k; h = v128.load(p);
    a9 = addProduct(addProduct(a9, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p9) break;
    p = p10 + k; h = v128.load(p);
    a10 = addProduct(addProduct(a10, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    if (!p10) break;
    p = p11 + k; h = v128.load(p);
    a11 = addProduct(addProduct(a11, first8<T>(h, mask, lift), u), second8<T>(h, p, mask), v);
    x += 32;
  }
  if (isFloat<T>() && bulk < 4 * cols) {
    const u = v128.load(x);
    a0 = addProduct(a0, v128.load(p0 + bulk), u);
    a1 = addProduct(a1, v128.load(p1 + bulk), u);
    a2 = addProduct(a2, v128.load(p2 + bulk), u);
    a3 = addProduct(a3, v128.load(p3 + bulk), u);
    a4 = addProduct(a4, v128.load(p4 + bulk), u);
    a5 = addProduct(a5, v128.load(p5 + bulk), u);
    a6 = addProduct(a6, v128.load(p6 + bulk), u);
    a7 = addProduct(a7, v128.load(p7 + bulk), u);
    a8 = addProduct(a8, v128.load(p8 + bulk), u);
    a9 = addProduct(a9, v128.load(p9 + bulk), u);
    a10 = addProduct(a10, v128.load(p10 + bulk), u);
    a11 = addProduct(a11, v128.load(p11 + bulk), u);
  }
  storePair(out, gap, a0, a1);
  storePair(out + 2 * gap, gap, a2, a3);
  storePair(out + 4 * gap, gap, a4, a5);
  storePair(out + 6 * gap, gap, a6, a7);
  storePair(out + 8 * gap, gap, a8, a9);
  storePair(out + 10 * gap, gap, a10, a11);
}
