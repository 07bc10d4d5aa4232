/**
 * Products of rows of blocks with several vectors of bytes.
 *
 * As in block-batch.ts: sixteen rows are unpacked, 512 columns at a time, and every pair of vectors then meets them from the first-level cache. Here a lane is a row
 * and four columns, and weights stay bytes, so scales cannot be multiplied in: sums of a sub-block are multiplied by them as f32, which is exact, since
 * |Σ w · q| with the scales is below 2^24 in every format (Q6_K: 32 · 127 · 32 · 128).
 *
 *   panel:  for each group of 32 columns, a lane for each row, 16 rows one behind the other:
 *           D f32 | N f32 | two minima f32 | two scales f32 | for each of 8 fours of columns: four bytes
 *   sums:   of a block of 256, for each of two vectors: A f32 [16]; sums of first halves f32 [16]; then B of one f32 [16]; outputs of a vector that is
 *           none f32 [16]
 *
 * D and N stand in the last group of a block; of formats whose minima are added, N is negative.
 */
import { storePairs } from "./block-batch";
import { MINIMA_AT, SCALES_AT } from "./block-scales";
import { GROUP_BYTES } from "./block-vector";
import { dot } from "./byte-dot";
import { isSplit, operand } from "./byte-rows";
import { storeScales } from "./byte-scales";
import { addProduct } from "./element";

const BATCH_ROWS: usize = 16;
/** Sums of blocks of 256. */
export const BYTE_SUMS_BYTES: usize = 384;
const HALF_SUMS_BYTES: usize = 64;
const FIRST_HALVES_AT: usize = 128;
const BELOW_AT: usize = 256;
const NOWHERE_AT: usize = 320;
const PANEL_GROUP_BYTES: usize = 896;
const MIN_SCALES_AT: usize = 64;
const GROUP_MINIMA_AT: usize = 128;
const GROUP_SCALES_AT: usize = 256;
const WEIGHTS_AT: usize = 384;
/** Sixteen rows' eight fours of columns. */
const WEIGHTS_BYTES: usize = 512;
/** A lane's minima and scales of sixteen rows. */
const ROWS_BYTES: usize = 64;

// What tells the formats apart, as bits of a number.
/** Blocks of 256. */
const WIDE: i32 = 1;
/** Scales of 16 elements. */
const HALVES: i32 = 2;
const MINIMA: i32 = 4;
/** Minima of 16 elements. */
const HALF_MINIMA: i32 = 8;
/** Weights of eight bits. */
const SPLIT: i32 = 16;

/** The bits of format T. */
@inline
export function kindOf<T>(): i32 {
  const f = changetype<T>(0);
  let kind = (f.hasMinima() ? MINIMA : 0) | (isSplit<T>() ? SPLIT : 0);
  if (isDefined(f.stretches)) {
    kind |= WIDE;
    if (f.shared() == 16) kind |= f.hasMinima() ? HALVES | HALF_MINIMA : HALVES;
  }
  return kind;
}

/** Bytes of sixteen rows' panel. */
@inline
function panelBytes(cols: usize): usize {
  return (cols / 32) * PANEL_GROUP_BYTES;
}

/** Four rows' blocks of 32, from p on, `stride` bytes apart; `panel`: so far into it as rows came before. */
export function unpackBytesOf32<T>(panel: usize, p: usize, stride: usize, cols: usize): void {
  const f = changetype<T>(0);
  for (const end = panel + panelBytes(cols); panel < end; panel += PANEL_GROUP_BYTES) {
    const p1 = p + stride, p2 = p1 + stride, p3 = p2 + stride;
    v128.store(panel, f.scales(p, p1, p2, p3));
    if (f.hasMinima()) v128.store(panel, f32x4.neg(f.minima(p, p1, p2, p3)), MIN_SCALES_AT);
    unpackHalfOf32<T>(panel + WEIGHTS_AT, p, p1, p2, p3, 0);
    unpackHalfOf32<T>(panel + WEIGHTS_AT + WEIGHTS_BYTES / 2, p, p1, p2, p3, 1);
    p += f.blockBytes();
  }
}

/** Half h (16 columns) of four rows. */
@inline
function unpackHalfOf32<T>(at: usize, p0: usize, p1: usize, p2: usize, p3: usize, h: i32): void {
  const f = changetype<T>(0), a = f.a(), b = f.b();
  storePairs(
    at, operand<T>(f.bytes(p0, h, a, b)), operand<T>(f.bytes(p1, h, a, b)),
    operand<T>(f.bytes(p2, h, a, b)), operand<T>(f.bytes(p3, h, a, b)),
  );
}

/** Four rows' blocks of 256, from p on, `stride` bytes apart. */
export function unpackBytesOf256<T>(panel: usize, table: usize, p: usize, stride: usize, cols: usize): void {
  const f = changetype<T>(0);
  const end = panel + panelBytes(cols);
  while (panel < end) {
    storeScales<T>(table, p, p + stride, p + 2 * stride, p + 3 * stride);
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
function unpackSubBlock<T>(panel: usize, at: usize, p: usize, stride: usize, stretch: usize, t: i32): void {
  const f = changetype<T>(0);
  storeScale(panel + GROUP_SCALES_AT, v128.load(at, SCALES_AT));
  if (f.shared() == 16) storeScale(panel + GROUP_SCALES_AT + ROWS_BYTES, v128.load(at, SCALES_AT + 16));
  if (f.hasMinima()) v128.store(panel, v128.load(at, MINIMA_AT), GROUP_MINIMA_AT);
  if (f.hasMinima() && f.shared() == 16) v128.store(panel, v128.load(at, MINIMA_AT + 16), GROUP_MINIMA_AT + ROWS_BYTES);
  unpackHalfOf256<T>(panel + WEIGHTS_AT, p, stride, stretch, t, 0);
  unpackHalfOf256<T>(panel + WEIGHTS_AT + WEIGHTS_BYTES / 2, p, stride, stretch, t, 1);
}

/** Each lane's scale, which stands there twice. */
@inline
function storeScale(at: usize, scale: v128): void {
  v128.store(at, f32x4.convert_i32x4_s(i32x4.shr_s(scale, 16)));
}

@inline
function unpackHalfOf256<T>(at: usize, p: usize, stride: usize, stretch: usize, t: i32, h: i32): void {
  const f = changetype<T>(0), a = f.a(), b = f.b(), high = f.high(stretch, t);
  storePairs(
    at,
    operand<T>(f.bytes(p, stretch, t, h, high, a, b)), operand<T>(f.bytes(p + stride, stretch, t, h, high, a, b)),
    operand<T>(f.bytes(p + 2 * stride, stretch, t, h, high, a, b)),
    operand<T>(f.bytes(p + 3 * stride, stretch, t, h, high, a, b)),
  );
}

/** sum + Σ w · q of lanes that are rows: four columns of four rows, and the same four elements of a vector. Weights of eight bits have signs. */
@inline
function addFour(sum: v128, w: v128, q: v128, split: bool): v128 {
  return split ? dot(w, q, sum) : dot(q, w, sum);
}

/** What sums of a group start from; `at`: 4 for its first half or all of it, 8 for its second half. */
@inline
function startOf(x: usize, at: usize, kind: i32): v128 {
  return kind & HALF_MINIMA ? i32x4.splat(0) : v128.load32_splat(x + at);
}

/**
 * Sixteen rows and two vectors. A group takes two turns where its halves have scales of their own, and where the vector is in two parts. The branch in the
 * innermost loop is never taken: see row-product.ts.
 */
@inline
function multiply16x2(
  out: usize, out1: usize, x: usize, x1: usize, panel: usize, sums: usize, cols: usize, kind: i32, split: bool,
): void {
  const turn: usize = kind & HALVES ? WEIGHTS_BYTES / 2 : WEIGHTS_BYTES;
  let group = 0;
  for (const end = panel + panelBytes(cols); panel != end; panel += PANEL_GROUP_BYTES) {
    let a0 = startOf(x, 4, kind), b0 = startOf(x1, 4, kind);
    let a1 = a0, a2 = a0, a3 = a0, b1 = b0, b2 = b0, b3 = b0;
    let at = split ? x - 32 : x, at1 = split ? x1 - 32 : x1;
    let p = panel, stop = panel + turn;
    for (;;) {
      for (; p != stop; p += 128) {
        let u = v128.load32_splat(at, 48), v = v128.load32_splat(at1, 48);
        let w = v128.load(p, WEIGHTS_AT);
        a0 = addFour(a0, w, u, split); b0 = addFour(b0, w, v, split);
        w = v128.load(p, WEIGHTS_AT + 16);
        a1 = addFour(a1, w, u, split); b1 = addFour(b1, w, v, split);
        w = v128.load(p, WEIGHTS_AT + 32);
        a2 = addFour(a2, w, u, split); b2 = addFour(b2, w, v, split);
        w = v128.load(p, WEIGHTS_AT + 48);
        a3 = addFour(a3, w, u, split); b3 = addFour(b3, w, v, split);
        if (!p) break;
        u = v128.load32_splat(at, 52); v = v128.load32_splat(at1, 52);
        w = v128.load(p, WEIGHTS_AT + 64);
        a0 = addFour(a0, w, u, split); b0 = addFour(b0, w, v, split);
        w = v128.load(p, WEIGHTS_AT + 80);
        a1 = addFour(a1, w, u, split); b1 = addFour(b1, w, v, split);
        w = v128.load(p, WEIGHTS_AT + 96);
        a2 = addFour(a2, w, u, split); b2 = addFour(b2, w, v, split);
        w = v128.load(p, WEIGHTS_AT + 112);
        a3 = addFour(a3, w, u, split); b3 = addFour(b3, w, v, split);
        at += 8; at1 += 8;
      }
      if (split) {
        if (at == x + 32) break;
        a0 = carry(a0); a1 = carry(a1); a2 = carry(a2); a3 = carry(a3);
        b0 = carry(b0); b1 = carry(b1); b2 = carry(b2); b3 = carry(b3);
        p = panel;
      } else {
        if (p == panel + WEIGHTS_BYTES) break;
        storeFirstHalves(sums + FIRST_HALVES_AT, panel, a0, a1, a2, a3);
        storeFirstHalves(sums + FIRST_HALVES_AT + HALF_SUMS_BYTES, panel, b0, b1, b2, b3);
        a0 = startOf(x, 8, kind); b0 = startOf(x1, 8, kind);
        a1 = a0; a2 = a0; a3 = a0; b1 = b0; b2 = b0; b3 = b0;
        stop = panel + WEIGHTS_BYTES;
      }
    }
    if (kind & WIDE) {
      addSubBlocks(sums, x, panel, a0, a1, a2, a3, kind);
      addSubBlocks(sums + HALF_SUMS_BYTES, x1, panel, b0, b1, b2, b3, kind);
      if ((++group & 7) == 0) {
        addBlocksOf256(out, x, panel, sums, sums + BELOW_AT, 64, kind);
        addBlocksOf256(out1, x1, panel, sums + HALF_SUMS_BYTES, sums + BELOW_AT, 64, kind);
      }
    } else {
      addBlocksOf32(out, x, panel, a0, a1, a2, a3, kind);
      addBlocksOf32(out1, x1, panel, b0, b1, b2, b3, kind);
    }
    x += GROUP_BYTES; x1 += GROUP_BYTES;
  }
}

function multiply16x2Whole(
  out: usize, out1: usize, x: usize, x1: usize, panel: usize, sums: usize, cols: usize, kind: i32,
): void {
  multiply16x2(out, out1, x, x1, panel, sums, cols, kind, false);
}

function multiply16x2Split(
  out: usize, out1: usize, x: usize, x1: usize, panel: usize, sums: usize, cols: usize, kind: i32,
): void {
  multiply16x2(out, out1, x, x1, panel, sums, cols, kind, true);
}

/** Four rows and one vector: the last rows of a range. */
function multiply4x1(out: usize, x: usize, panel: usize, sums: usize, cols: usize, kind: i32): void {
  let group = 0;
  for (const end = panel + panelBytes(cols); panel != end; panel += PANEL_GROUP_BYTES) {
    let a = startOf(x, 4, kind);
    if (kind & SPLIT) a = addColumns(carry(addColumns(a, x + 16, panel, 0, 8, true)), x + 48, panel, 0, 8, true);
    else if (kind & HALVES) {
      storeFirstHalf(sums + FIRST_HALVES_AT, panel, addColumns(a, x + 48, panel, 0, 4, false));
      a = addColumns(startOf(x, 8, kind), x + 48, panel, 4, 8, false);
    } else a = addColumns(a, x + 48, panel, 0, 8, false);
    if (kind & WIDE) {
      if (kind & HALVES) addHalves(sums, v128.load32_splat(x), panel, a);
      else addSubBlock(sums, v128.load32_splat(x), panel, a);
      if ((++group & 7) == 0) addBlocksOf256(out, x, panel, sums, sums + BELOW_AT, 16, kind);
    } else {
      addBlockOf32(out, v128.load32_splat(x), v128.load32_splat(x, 12), panel, a, kind);
    }
    x += GROUP_BYTES;
  }
}

/** Fours of columns [begin, end) of four rows. */
@inline
function addColumns(sum: v128, q: usize, panel: usize, begin: usize, end: usize, split: bool): v128 {
  for (let k = begin; k < end; k++) {
    sum = addFour(sum, v128.load(panel + ROWS_BYTES * k, WEIGHTS_AT), v128.load32_splat(q + 4 * k), split);
  }
  return sum;
}

/** -128 times: of the vector's upper part. */
@inline
function carry(sum: v128): v128 {
  return i32x4.neg(i32x4.shl(sum, 7));
}

@inline
function storeFirstHalves(at: usize, panel: usize, a: v128, b: v128, c: v128, d: v128): void {
  storeFirstHalf(at, panel, a);
  storeFirstHalf(at + 16, panel + 16, b);
  storeFirstHalf(at + 32, panel + 32, c);
  storeFirstHalf(at + 48, panel + 48, d);
}

@inline
function storeFirstHalf(at: usize, panel: usize, a: v128): void {
  v128.store(at, f32x4.mul(f32x4.convert_i32x4_s(a), v128.load(panel, GROUP_SCALES_AT)));
}

@inline
function addSubBlocks(sums: usize, x: usize, panel: usize, a: v128, b: v128, c: v128, d: v128, kind: i32): void {
  const scale = v128.load32_splat(x);
  if (kind & HALVES) {
    addHalves(sums, scale, panel, a);
    addHalves(sums + 16, scale, panel + 16, b);
    addHalves(sums + 32, scale, panel + 32, c);
    addHalves(sums + 48, scale, panel + 48, d);
  } else {
    addSubBlock(sums, scale, panel, a);
    addSubBlock(sums + 16, scale, panel + 16, b);
    addSubBlock(sums + 32, scale, panel + 32, c);
    addSubBlock(sums + 48, scale, panel + 48, d);
  }
}

/** A += s · scale · a. */
@inline
function addSubBlock(sums: usize, scale: v128, panel: usize, a: v128): void {
  const product = f32x4.mul(f32x4.convert_i32x4_s(a), v128.load(panel, GROUP_SCALES_AT));
  v128.store(sums, addProduct(v128.load(sums), scale, product));
}

/** The same with the first halves' sums. */
@inline
function addHalves(sums: usize, scale: v128, panel: usize, a: v128): void {
  const second = f32x4.mul(f32x4.convert_i32x4_s(a), v128.load(panel, GROUP_SCALES_AT + ROWS_BYTES));
  v128.store(sums, addProduct(v128.load(sums), scale, f32x4.add(v128.load(sums, FIRST_HALVES_AT), second)));
}

@inline
function addBlocksOf32(out: usize, x: usize, panel: usize, a: v128, b: v128, c: v128, d: v128, kind: i32): void {
  const scale = v128.load32_splat(x), sum = v128.load32_splat(x, 12);
  addBlockOf32(out, scale, sum, panel, a, kind);
  addBlockOf32(out + 16, scale, sum, panel + 16, b, kind);
  addBlockOf32(out + 32, scale, sum, panel + 32, c, kind);
  addBlockOf32(out + 48, scale, sum, panel + 48, d, kind);
}

/** out += fl(D · fl(s · a)) − fl(N · sum) of four rows; `sum`: s · Σq. */
@inline
function addBlockOf32(out: usize, scale: v128, sum: v128, panel: usize, a: v128, kind: i32): void {
  let product = f32x4.mul(v128.load(panel), f32x4.mul(scale, f32x4.convert_i32x4_s(a)));
  if (kind & MINIMA) product = f32x4.sub(product, f32x4.mul(v128.load(panel, MIN_SCALES_AT), sum));
  v128.store(out, f32x4.add(v128.load(out), product));
}

/** B of a block in sixteen rows, to `below`. `x` and `panel` are at the first of the block's groups. */
function sumMinima(below: usize, x: usize, panel: usize, kind: i32): void {
  let a = f32x4.splat(0), b = a, c = a, d = a;
  const at: usize = kind & HALF_MINIMA ? 4 : 12;
  for (const end = panel + 8 * PANEL_GROUP_BYTES; panel != end; panel += PANEL_GROUP_BYTES) {
    let sum = v128.load32_splat(x + at);
    a = addProduct(a, v128.load(panel, GROUP_MINIMA_AT), sum);
    b = addProduct(b, v128.load(panel, GROUP_MINIMA_AT + 16), sum);
    c = addProduct(c, v128.load(panel, GROUP_MINIMA_AT + 32), sum);
    d = addProduct(d, v128.load(panel, GROUP_MINIMA_AT + 48), sum);
    if (kind & HALF_MINIMA) {
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
 * out += fl(D · A) − fl(N · B), and A becomes 0. `x` and `panel` are at the last of the block's groups. `bytes`: 64 for sixteen rows, 16 for four; of four the
 * minima of what follows are added up for nothing.
 */
function addBlocksOf256(
  out: usize, x: usize, panel: usize, sums: usize, below: usize, bytes: usize, kind: i32,
): void {
  if (kind & MINIMA) sumMinima(below, x - 7 * GROUP_BYTES, panel - 7 * PANEL_GROUP_BYTES, kind);
  for (const end = sums + bytes; sums != end; sums += 16) {
    let product = f32x4.mul(v128.load(panel), v128.load(sums));
    if (kind & MINIMA) product = f32x4.sub(product, f32x4.mul(v128.load(panel, MIN_SCALES_AT), v128.load(below)));
    v128.store(out, f32x4.add(v128.load(out), product));
    v128.store(sums, f32x4.splat(0));
    out += 16; panel += 16; below += 16;
  }
}

/**
 * out[t, 0 … rows − 1] += panel rows · x[t], over `cols` columns.
 *
 * @param x    Of the columns, `xStride` bytes apart.
 * @param sums Zeros, and where A is zeros again afterwards.
 * @param rows A multiple of four, at most sixteen.
 */
export function multiplyBytePanel(
  out: usize, outStride: usize, x: usize, xStride: usize, nTokens: usize, panel: usize, sums: usize, rows: usize,
  cols: usize, kind: i32,
): void {
  if (rows != BATCH_ROWS) return multiplyFours(out, outStride, x, xStride, nTokens, panel, sums, rows, cols, kind);
  for (let t: usize = 0; t < nTokens; t += 2) {
    const odd = t + 1 == nTokens;
    const at = out + t * outStride, from = x + t * xStride;
    // Of one vector twice, the second goes nowhere.
    const at1 = odd ? sums + NOWHERE_AT : at + outStride, from1 = odd ? from : from + xStride;
    if (kind & SPLIT) multiply16x2Split(at, at1, from, from1, panel, sums, cols, kind);
    else multiply16x2Whole(at, at1, from, from1, panel, sums, cols, kind);
  }
}

function multiplyFours(
  out: usize, outStride: usize, x: usize, xStride: usize, nTokens: usize, panel: usize, sums: usize, rows: usize,
  cols: usize, kind: i32,
): void {
  for (let t: usize = 0; t < nTokens; t++) {
    for (let i: usize = 0; i < 4 * rows; i += 16) {
      multiply4x1(out + t * outStride + i, x + t * xStride, panel + i, sums, cols, kind);
    }
  }
}
