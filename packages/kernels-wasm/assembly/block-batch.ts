/**
 * Products of rows of blocks with several vectors.
 *
 * Sixteen rows are unpacked, 512 columns at a time, to i16 with their sub-blocks' scales multiplied in; every pair of vectors then meets
 * them from the first-level cache. A lane is a row: `dot` takes two columns of four rows together, and the same two elements of a vector, so that
 * nothing is added up across lanes. A tile is sixteen rows and two vectors: eight accumulators, six loads for sixteen operations. Sums wait in
 * the output between stretches of columns: a block ends where a stretch does, so they have the order of block-rows.ts, and a batch gives the bits
 * of its vectors one by one.
 *
 *   panel:  for each group of 32 columns, a lane for each row, 16 rows one behind the other:
 *           D f32 | N f32 | two minima f32 | for each of 16 pairs of columns: two i16
 *   sums:   of a block of 256, for each of two vectors: A f32 [16]; B of one f32 [16]; outputs of a vector that is none f32 [16]
 *
 * D and N stand in the last group of a block; of formats whose minima are added, N is negative. Pairs are in the order of q0 … q3
 * (block-vector.ts).
 */
import { evenBytes, lowBytes, oddBytes } from "./block-bytes";
import { MINIMA_AT, SCALES_AT } from "./block-scales";
import { GROUP_BYTES } from "./block-vector";
import { addProduct } from "./element";

export const BATCH_ROWS: usize = 16;
export const BATCH_COLS: usize = 512;
/** Sums of blocks of 256. */
export const SUMS_BYTES: usize = 256;
const HALF_SUMS_BYTES: usize = 64;
const BELOW_AT: usize = 128;
const PANEL_GROUP_BYTES: usize = 1280;
const MIN_SCALES_AT: usize = 64;
const GROUP_MINIMA_AT: usize = 128;
const WEIGHTS_AT: usize = 256;
const PAIRS: usize = 16;
/** From eight columns of a group to the next eight. */
const EIGHT_BYTES: usize = 256;

/** Bytes of sixteen rows' panel. */
@inline
export function panelBytes(cols: usize): usize {
  return (cols / 32) * PANEL_GROUP_BYTES;
}

/** Four rows' blocks of 32, from p on, `stride` bytes apart; `panel`: so far into it as rows came before. */
export function unpackOf32<T>(panel: usize, p: usize, stride: usize, cols: usize): void {
  const f = changetype<T>(0);
  for (const end = panel + panelBytes(cols); panel < end; panel += PANEL_GROUP_BYTES) {
    const p1 = p + stride, p2 = p1 + stride, p3 = p2 + stride;
    v128.store(panel, f.scales(p, p1, p2, p3));
    if (f.hasMinima()) v128.store(panel, f32x4.neg(f.minima(p, p1, p2, p3)), MIN_SCALES_AT);
    unpackHalfOf32<T>(panel + WEIGHTS_AT, p, p1, p2, p3, 0);
    unpackHalfOf32<T>(panel + WEIGHTS_AT + 2 * EIGHT_BYTES, p, p1, p2, p3, 1);
    p += f.blockBytes();
  }
}

/** Half h (16 columns) of four rows. */
@inline
function unpackHalfOf32<T>(at: usize, p0: usize, p1: usize, p2: usize, p3: usize, h: i32): void {
  const f = changetype<T>(0);
  const a = f.bytes(p0, h, f.a(), f.b()), b = f.bytes(p1, h, f.a(), f.b());
  const c = f.bytes(p2, h, f.a(), f.b()), d = f.bytes(p3, h, f.a(), f.b());
  if (f.natural()) {
    storePairs(at, lower(a), lower(b), lower(c), lower(d));
    storePairs(at + EIGHT_BYTES, upper(a), upper(b), upper(c), upper(d));
  } else {
    storePairs(at, even<T>(a), even<T>(b), even<T>(c), even<T>(d));
    storePairs(at + EIGHT_BYTES, odd<T>(a), odd<T>(b), odd<T>(c), odd<T>(d));
  }
}

/** Elements of even bytes. */
@inline
function even<T>(bytes: v128): v128 {
  return i16x8.sub(evenBytes(bytes, lowBytes()), i16x8.splat(<i16>changetype<T>(0).offset()));
}

@inline
function odd<T>(bytes: v128): v128 {
  return i16x8.sub(oddBytes(bytes), i16x8.splat(<i16>changetype<T>(0).offset()));
}

@inline
function lower(bytes: v128): v128 {
  return i16x8.extend_low_i8x16_s(bytes);
}

@inline
function upper(bytes: v128): v128 {
  return i16x8.extend_high_i8x16_s(bytes);
}

/** Eight columns of four rows, as four pairs of columns. */
export function storePairs(at: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const ef = v128.shuffle<i32>(a, b, 2, 6, 3, 7), gh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(at, v128.shuffle<i64>(ab, cd, 0, 2));
  v128.store(at, v128.shuffle<i64>(ab, cd, 1, 3), 64);
  v128.store(at, v128.shuffle<i64>(ef, gh, 0, 2), 128);
  v128.store(at, v128.shuffle<i64>(ef, gh, 1, 3), 192);
}

/** Four rows' blocks of 256, from p on, `stride` bytes apart. */
export function unpackOf256<T>(panel: usize, table: usize, p: usize, stride: usize, cols: usize): void {
  const f = changetype<T>(0);
  const end = panel + panelBytes(cols);
  while (panel < end) {
    f.scales(table, p, p + stride, p + 2 * stride, p + 3 * stride);
    let at = table;
    for (let stretch: usize = 0; stretch < f.stretches(); stretch++) {
      unpackSubBlock<T>(panel, at, p, stride, stretch, 0);
      panel += PANEL_GROUP_BYTES; at += 512 / f.shared();
      if (f.stretches() < 8) {
        unpackSubBlock<T>(panel, at, p, stride, stretch, 1);
        panel += PANEL_GROUP_BYTES; at += 512 / f.shared();
      }
      if (f.stretches() < 4) {
        unpackSubBlock<T>(panel, at, p, stride, stretch, 2);
        panel += PANEL_GROUP_BYTES; at += 512 / f.shared();
        unpackSubBlock<T>(panel, at, p, stride, stretch, 3);
        panel += PANEL_GROUP_BYTES; at += 512 / f.shared();
      }
    }
    v128.store(panel - PANEL_GROUP_BYTES, v128.load(table));
    if (f.hasMinima()) v128.store(panel - PANEL_GROUP_BYTES, v128.load(table, 16), MIN_SCALES_AT);
    p += f.blockBytes();
  }
}

@inline
function unpackSubBlock<T>(
  panel: usize, at: usize, p: usize, stride: usize, stretch: usize, t: i32,
): void {
  const f = changetype<T>(0);
  if (f.hasMinima()) {
    v128.store(panel, v128.load(at, MINIMA_AT), GROUP_MINIMA_AT);
    if (f.shared() == 16) v128.store(panel, v128.load(at, MINIMA_AT + 16), GROUP_MINIMA_AT + 64);
  }
  unpackHalfOf256<T>(panel + WEIGHTS_AT, at, p, stride, stretch, t, 0);
  unpackHalfOf256<T>(panel + WEIGHTS_AT + 2 * EIGHT_BYTES, at + (f.shared() == 16 ? 16 : 0), p, stride, stretch, t, 1);
}

/** Half h of a sub-block, of four rows. */
@inline
function unpackHalfOf256<T>(
  out: usize, at: usize, p: usize, stride: usize, stretch: usize, t: i32, h: i32,
): void {
  const f = changetype<T>(0);
  const high = f.high(stretch, t);
  const a = f.bytes(p, stretch, t, h, high, f.a(), f.b());
  const b = f.bytes(p + stride, stretch, t, h, high, f.a(), f.b());
  const c = f.bytes(p + 2 * stride, stretch, t, h, high, f.a(), f.b());
  const d = f.bytes(p + 3 * stride, stretch, t, h, high, f.a(), f.b());
  // Scales lie in i32 lanes, and fit their lower halves.
  const k = v128.load16_splat(at, SCALES_AT), l = v128.load16_splat(at, SCALES_AT + 4);
  const m = v128.load16_splat(at, SCALES_AT + 8), n = v128.load16_splat(at, SCALES_AT + 12);
  storePairs(out, i16x8.mul(even<T>(a), k), i16x8.mul(even<T>(b), l), i16x8.mul(even<T>(c), m), i16x8.mul(even<T>(d), n));
  storePairs(
    out + EIGHT_BYTES, i16x8.mul(odd<T>(a), k), i16x8.mul(odd<T>(b), l), i16x8.mul(odd<T>(c), m), i16x8.mul(odd<T>(d), n),
  );
}

/** sum + the pairwise products of eight i16. */
@inline
function addDot(sum: v128, a: v128, b: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(a, b));
}

/** Sixteen rows and two vectors. The branch is never taken: see row-product.ts. */
function multiply16x2(
  out: usize, out1: usize, x: usize, x1: usize, panel: usize, sums: usize, cols: usize, wide: bool, minima: i32,
): void {
  let group = 0;
  for (const end = panel + panelBytes(cols); panel != end; panel += PANEL_GROUP_BYTES) {
    const pairsEnd = panel + 64 * PAIRS;
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (let p = panel; p != pairsEnd; p += 128) {
      let u = v128.load32_splat(x, 16), v = v128.load32_splat(x1, 16);
      let w = v128.load(p, WEIGHTS_AT);
      a0 = addDot(a0, w, u); b0 = addDot(b0, w, v);
      w = v128.load(p, WEIGHTS_AT + 16);
      a1 = addDot(a1, w, u); b1 = addDot(b1, w, v);
      w = v128.load(p, WEIGHTS_AT + 32);
      a2 = addDot(a2, w, u); b2 = addDot(b2, w, v);
      w = v128.load(p, WEIGHTS_AT + 48);
      a3 = addDot(a3, w, u); b3 = addDot(b3, w, v);
      if (!p) break;
      u = v128.load32_splat(x, 20); v = v128.load32_splat(x1, 20);
      w = v128.load(p, WEIGHTS_AT + 64);
      a0 = addDot(a0, w, u); b0 = addDot(b0, w, v);
      w = v128.load(p, WEIGHTS_AT + 80);
      a1 = addDot(a1, w, u); b1 = addDot(b1, w, v);
      w = v128.load(p, WEIGHTS_AT + 96);
      a2 = addDot(a2, w, u); b2 = addDot(b2, w, v);
      w = v128.load(p, WEIGHTS_AT + 112);
      a3 = addDot(a3, w, u); b3 = addDot(b3, w, v);
      x += 8; x1 += 8;
    }
    x -= 64; x1 -= 64;
    if (wide) {
      addSubBlocks(sums, x, a0, a1, a2, a3);
      addSubBlocks(sums + HALF_SUMS_BYTES, x1, b0, b1, b2, b3);
      if ((++group & 7) == 0) {
        addBlocksOf256(out, x, panel, sums, sums + BELOW_AT, 64, minima);
        addBlocksOf256(out1, x1, panel, sums + HALF_SUMS_BYTES, sums + BELOW_AT, 64, minima);
      }
    } else {
      addBlocksOf32(out, x, panel, a0, a1, a2, a3, minima);
      addBlocksOf32(out1, x1, panel, b0, b1, b2, b3, minima);
    }
    x += GROUP_BYTES; x1 += GROUP_BYTES;
  }
}

/** Four rows and two vectors: the last rows of a range. */
function multiply4x2(
  out: usize, out1: usize, x: usize, x1: usize, panel: usize, sums: usize, cols: usize, wide: bool, minima: i32,
): void {
  let group = 0;
  for (const end = panel + panelBytes(cols); panel != end; panel += PANEL_GROUP_BYTES) {
    let a = i32x4.splat(0), b = a;
    for (let k: usize = 0; k < 4 * PAIRS; k += 4) {
      const w = v128.load(panel + 16 * k, WEIGHTS_AT);
      a = addDot(a, w, v128.load32_splat(x + k, 16));
      b = addDot(b, w, v128.load32_splat(x1 + k, 16));
    }
    if (wide) {
      addSubBlock(sums, v128.load32_splat(x), a);
      addSubBlock(sums + HALF_SUMS_BYTES, v128.load32_splat(x1), b);
      if ((++group & 7) == 0) {
        addBlocksOf256(out, x, panel, sums, sums + BELOW_AT, 16, minima);
        addBlocksOf256(out1, x1, panel, sums + HALF_SUMS_BYTES, sums + BELOW_AT, 16, minima);
      }
    } else {
      addBlockOf32(out, v128.load32_splat(x), v128.load32_splat(x, 12), panel, a, minima);
      addBlockOf32(out1, v128.load32_splat(x1), v128.load32_splat(x1, 12), panel, b, minima);
    }
    x += GROUP_BYTES; x1 += GROUP_BYTES;
  }
}

@inline
function addBlocksOf32(out: usize, x: usize, panel: usize, a: v128, b: v128, c: v128, d: v128, minima: i32): void {
  const scale = v128.load32_splat(x), sum = v128.load32_splat(x, 12);
  addBlockOf32(out, scale, sum, panel, a, minima);
  addBlockOf32(out + 16, scale, sum, panel + 16, b, minima);
  addBlockOf32(out + 32, scale, sum, panel + 32, c, minima);
  addBlockOf32(out + 48, scale, sum, panel + 48, d, minima);
}

/** out += fl(D · fl(s · a)) − fl(N · sum) of four rows; `sum`: s · Σq. */
@inline
function addBlockOf32(out: usize, scale: v128, sum: v128, panel: usize, a: v128, minima: i32): void {
  let product = f32x4.mul(v128.load(panel), f32x4.mul(scale, f32x4.convert_i32x4_s(a)));
  if (minima) product = f32x4.sub(product, f32x4.mul(v128.load(panel, MIN_SCALES_AT), sum));
  v128.store(out, f32x4.add(v128.load(out), product));
}

@inline
function addSubBlocks(sums: usize, x: usize, a: v128, b: v128, c: v128, d: v128): void {
  const scale = v128.load32_splat(x);
  addSubBlock(sums, scale, a);
  addSubBlock(sums + 16, scale, b);
  addSubBlock(sums + 32, scale, c);
  addSubBlock(sums + 48, scale, d);
}

/** A += s · a. */
@inline
function addSubBlock(sums: usize, scale: v128, a: v128): void {
  v128.store(sums, addProduct(v128.load(sums), scale, f32x4.convert_i32x4_s(a)));
}

/**
 * B of a block in sixteen rows, to `below`: Σ m · s · Σq over its minima, of 32 elements each or of 16. `x` and `panel` are at the first
 * of the block's groups.
 */
function sumMinima(below: usize, x: usize, panel: usize, minima: i32): void {
  let a = f32x4.splat(0), b = a, c = a, d = a;
  const at: usize = minima == 1 ? 12 : 4;
  for (const end = panel + 8 * PANEL_GROUP_BYTES; panel != end; panel += PANEL_GROUP_BYTES) {
    let sum = v128.load32_splat(x + at);
    a = addProduct(a, v128.load(panel, GROUP_MINIMA_AT), sum);
    b = addProduct(b, v128.load(panel, GROUP_MINIMA_AT + 16), sum);
    c = addProduct(c, v128.load(panel, GROUP_MINIMA_AT + 32), sum);
    d = addProduct(d, v128.load(panel, GROUP_MINIMA_AT + 48), sum);
    if (minima == 2) {
      sum = v128.load32_splat(x, 8);
      a = addProduct(a, v128.load(panel, GROUP_MINIMA_AT + 64), sum);
      b = addProduct(b, v128.load(panel, GROUP_MINIMA_AT + 80), sum);
      c = addProduct(c, v128.load(panel, GROUP_MINIMA_AT + 96), sum);
      d = addProduct(d, v128.load(panel, GROUP_MINIMA_AT + 112), sum);
    }
    x += GROUP_BYTES;
  }
  v128.store(below, a); v128.store(below, b, 16); v128.store(below, c, 32); v128.store(below, d, 48);
}

/**
 * out += fl(D · A) − fl(N · B), and A becomes 0. `x` and `panel` are at the last of the block's groups. `bytes`: 64 for sixteen rows, 16 for
 * four; of four the minima of what follows are added up for nothing.
 */
function addBlocksOf256(
  out: usize, x: usize, panel: usize, sums: usize, below: usize, bytes: usize, minima: i32,
): void {
  if (minima) sumMinima(below, x - 7 * GROUP_BYTES, panel - 7 * PANEL_GROUP_BYTES, minima);
  for (const end = sums + bytes; sums != end; sums += 16) {
    let product = f32x4.mul(v128.load(panel), v128.load(sums));
    if (minima) product = f32x4.sub(product, f32x4.mul(v128.load(panel, MIN_SCALES_AT), v128.load(below)));
    v128.store(out, f32x4.add(v128.load(out), product));
    v128.store(sums, f32x4.splat(0));
    out += 16; panel += 16; below += 16;
  }
}

/**
 * out[t, 0 … rows − 1] += panel rows · x[t], over `cols` columns.
 *
 * @param x       Of the columns, `xStride` bytes apart.
 * @param sums    Zeros, and zeros again afterwards.
 * @param rows    A multiple of four, at most sixteen.
 * @param wide    Blocks of 256.
 * @param minima  0: none; 1: one for 32 elements; 2: one for 16.
 */
export function multiplyPanel(
  out: usize, outStride: usize, x: usize, xStride: usize, nTokens: usize, panel: usize, sums: usize, rows: usize,
  cols: usize, wide: bool, minima: i32,
): void {
  for (let t: usize = 0; t < nTokens; t += 2) {
    const odd = t + 1 == nTokens;
    const at = out + t * outStride, from = x + t * xStride;
    // Of one vector twice, the second goes nowhere.
    const at1 = odd ? sums + SUMS_BYTES - BATCH_ROWS * 4 : at + outStride, from1 = odd ? from : from + xStride;
    if (rows == BATCH_ROWS) multiply16x2(at, at1, from, from1, panel, sums, cols, wide, minima);
    else {
      for (let i: usize = 0; i < 4 * rows; i += 16) {
        multiply4x2(at + i, at1 + i, from, from1, panel + i, sums, cols, wide, minima);
      }
    }
  }
}
