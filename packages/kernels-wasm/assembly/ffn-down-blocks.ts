/**
 * `ffnDown` where down columns are Q4_0's blocks: in each block, an activation times the scale is the factor of all its elements.
 *
 * Neurons ascending, four at a time, as in ffn-down.ts; 32 columns a turn, whose sums stay in registers. A range of columns may begin and end in the middle of a
 * block: sixteen columns are the low or the high nibbles of its bytes.
 */
import { HALF_FACTOR, Half, addProduct, load1 } from "./element";
import { nextActive, rowPointer } from "./row-product";
import { padded } from "./vector";

const BLOCK_BYTES: usize = 18;
/** Down columns that one pass over the tokens may take of the cache. */
const PASS_BYTES: usize = 256 * 1024;
/* Loaded before loops: element.ts says why. */
const LOW_NIBBLES = memory.data<i32>([0x0f0f0f0f]);
const EIGHTS = memory.data<i32>([0x08080808]);

/** @param down Where slot 0 has its down column. */
export function ffnDownBlocks(
  out: usize, act: usize, down: usize, stride: usize, dModel: usize, slots: usize, n: usize, nTokens: usize,
  colBegin: usize, colEnd: usize,
): void {
  const actStride = padded(n) * 4, outStride = padded(dModel) * 4;
  const pass = nTokens == 1 ? max<usize>(n, 1) : max<usize>(4, PASS_BYTES / ((colEnd - colBegin) * BLOCK_BYTES / 32));
  for (let begin: usize = 0; begin < n; begin += pass) {
    const end = min<usize>(n, begin + pass);
    for (let t: usize = 0; t < nTokens; t++) {
      neurons(out + t * outStride, act + t * actStride, down, stride, slots, begin, end, colBegin, colEnd);
    }
  }
}

/** Neurons [begin, end) of one token: the next four active ones, and so on; then one by one. */
function neurons(
  out: usize, act: usize, down: usize, stride: usize, slots: usize, begin: usize, end: usize, colBegin: usize, colEnd: usize,
): void {
  let i = begin;
  for (;;) {
    const i0 = nextActive(act, i, end), i1 = nextActive(act, i0 + 1, end);
    const i2 = nextActive(act, i1 + 1, end), i3 = nextActive(act, i2 + 1, end);
    if (i3 >= end) break;
    addFour(
      out, colBegin, colEnd,
      rowPointer(down, stride, slots, i0), rowPointer(down, stride, slots, i1),
      rowPointer(down, stride, slots, i2), rowPointer(down, stride, slots, i3),
      load<f32>(act + 4 * i0), load<f32>(act + 4 * i1), load<f32>(act + 4 * i2), load<f32>(act + 4 * i3),
    );
    i = i3 + 1;
  }
  for (i = nextActive(act, i, end); i < end; i = nextActive(act, i + 1, end)) {
    addOne(out, colBegin, colEnd, rowPointer(down, stride, slots, i), load<f32>(act + 4 * i));
  }
}

/** One neuron, sixteen columns a turn. */
function addOne(out: usize, colBegin: usize, colEnd: usize, p: usize, a: f32): void {
  for (let k = colBegin; k < colEnd; k += 16) addSixteen(out + 4 * k, p + (k >> 5) * BLOCK_BYTES, <i32>(k & 16), a);
}

/** Half a block, `high`: not 0 for its second half. */
function addSixteen(out: usize, p: usize, high: i32, a: f32): void {
  const low = v128.load32_splat(LOW_NIBBLES), eights = v128.load32_splat(EIGHTS);
  const bytes = v128.load(p, 2), f = blockFactor(p, a);
  const w = high ? secondHalf(bytes, low, eights) : firstHalf(bytes, low, eights);
  v128.store(out, addProduct(v128.load(out), f, elements0(w)));
  v128.store(out, addProduct(v128.load(out, 16), f, elements4(w)), 16);
  v128.store(out, addProduct(v128.load(out, 32), f, elements8(w)), 32);
  v128.store(out, addProduct(v128.load(out, 48), f, elements12(w)), 48);
}

/** Four neurons. No column is at 0: the branches end blocks, see row-product.ts. */
function addFour(
  out: usize, colBegin: usize, colEnd: usize, p0: usize, p1: usize, p2: usize, p3: usize, a0: f32, a1: f32, a2: f32, a3: f32,
): void {
  const first = (colBegin + 31) & ~31, last = colEnd & ~31;
  if (colBegin < first) fourTimesSixteen(out, colBegin, p0, p1, p2, p3, a0, a1, a2, a3);
  if (last < colEnd) fourTimesSixteen(out, last, p0, p1, p2, p3, a0, a1, a2, a3);
  const low = v128.load32_splat(LOW_NIBBLES), eights = v128.load32_splat(EIGHTS);
  let at = (first >> 5) * BLOCK_BYTES;
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  let q = out + 4 * first, p: usize, w: v128, f: v128;
  for (const end = out + 4 * last; q < end; q += 128) {
    s0 = v128.load(q); s1 = v128.load(q, 16); s2 = v128.load(q, 32); s3 = v128.load(q, 48);
    s4 = v128.load(q, 64); s5 = v128.load(q, 80); s6 = v128.load(q, 96); s7 = v128.load(q, 112);
    p = p0 + at; f = blockFactor(p, a0); w = firstHalf(v128.load(p, 2), low, eights);
    s0 = addProduct(s0, f, elements0(w)); s1 = addProduct(s1, f, elements4(w));
    s2 = addProduct(s2, f, elements8(w)); s3 = addProduct(s3, f, elements12(w));
    w = secondHalf(v128.load(p, 2), low, eights);
    s4 = addProduct(s4, f, elements0(w)); s5 = addProduct(s5, f, elements4(w));
    s6 = addProduct(s6, f, elements8(w)); s7 = addProduct(s7, f, elements12(w));
    if (!p0) break;
    p = p1 + at; f = blockFactor(p, a1); w = firstHalf(v128.load(p, 2), low, eights);
    s0 = addProduct(s0, f, elements0(w)); s1 = addProduct(s1, f, elements4(w));
    s2 = addProduct(s2, f, elements8(w)); s3 = addProduct(s3, f, elements12(w));
    w = secondHalf(v128.load(p, 2), low, eights);
    s4 = addProduct(s4, f, elements0(w)); s5 = addProduct(s5, f, elements4(w));
    s6 = addProduct(s6, f, elements8(w)); s7 = addProduct(s7, f, elements12(w));
    if (!p1) break;
    p = p2 + at; f = blockFactor(p, a2); w = firstHalf(v128.load(p, 2), low, eights);
    s0 = addProduct(s0, f, elements0(w)); s1 = addProduct(s1, f, elements4(w));
    s2 = addProduct(s2, f, elements8(w)); s3 = addProduct(s3, f, elements12(w));
    w = secondHalf(v128.load(p, 2), low, eights);
    s4 = addProduct(s4, f, elements0(w)); s5 = addProduct(s5, f, elements4(w));
    s6 = addProduct(s6, f, elements8(w)); s7 = addProduct(s7, f, elements12(w));
    if (!p2) break;
    p = p3 + at; f = blockFactor(p, a3); w = firstHalf(v128.load(p, 2), low, eights);
    s0 = addProduct(s0, f, elements0(w)); s1 = addProduct(s1, f, elements4(w));
    s2 = addProduct(s2, f, elements8(w)); s3 = addProduct(s3, f, elements12(w));
    w = secondHalf(v128.load(p, 2), low, eights);
    s4 = addProduct(s4, f, elements0(w)); s5 = addProduct(s5, f, elements4(w));
    s6 = addProduct(s6, f, elements8(w)); s7 = addProduct(s7, f, elements12(w));
    v128.store(q, s0); v128.store(q, s1, 16); v128.store(q, s2, 32); v128.store(q, s3, 48);
    v128.store(q, s4, 64); v128.store(q, s5, 80); v128.store(q, s6, 96); v128.store(q, s7, 112);
    at += BLOCK_BYTES;
  }
}

/** Sixteen columns from k on, of four neurons. */
function fourTimesSixteen(
  out: usize, k: usize, p0: usize, p1: usize, p2: usize, p3: usize, a0: f32, a1: f32, a2: f32, a3: f32,
): void {
  addOne(out, k, k + 16, p0, a0);
  addOne(out, k, k + 16, p1, a1);
  addOne(out, k, k + 16, p2, a2);
  addOne(out, k, k + 16, p3, a3);
}

/** fl(a · scale of the block at p). */
@inline
function blockFactor(p: usize, a: f32): v128 {
  return f32x4.splat(a * (load1<Half>(p) * HALF_FACTOR));
}

/** Sixteen elements as bytes with their sign. */
@inline
function firstHalf(bytes: v128, low: v128, eights: v128): v128 {
  return i8x16.sub(v128.and(bytes, low), eights);
}

@inline
function secondHalf(bytes: v128, low: v128, eights: v128): v128 {
  return i8x16.sub(v128.and(i16x8.shr_u(bytes, 4), low), eights);
}

/** Elements 0 to 3 of sixteen bytes, as f32; those from 4, 8 and 12 on. */
@inline
function elements0(w: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(w)));
}

@inline
function elements4(w: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(i16x8.extend_low_i8x16_s(w)));
}

@inline
function elements8(w: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_high_i8x16_s(w)));
}

@inline
function elements12(w: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(i16x8.extend_high_i8x16_s(w)));
}
