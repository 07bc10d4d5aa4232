/**
 * Products of rows of blocks with one vector of bytes; byte-batch.ts has those of several.
 *
 * Four rows at a time, as in block-rows.ts, whose order of summation this is. A lane of a row's product has four neighbours' products of each sixteen. The lanes
 * of four rows are added up as 16-bit numbers where they fit, pairs in each step, and the last step multiplies by the sub-blocks' scales.
 */
import { sumEach } from "./block-bytes";
import { MINIMA_AT, SCALES_AT, WAITING_AT } from "./block-scales";
import { GROUP_BYTES } from "./block-vector";
import { dot } from "./byte-dot";
import { storeScales } from "./byte-scales";
import { addProduct } from "./element";

const ONES = memory.data<i16>([1, 1, 1, 1, 1, 1, 1, 1]);
const SIGNS = memory.data<u8>([128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128]);
/** Of a vector's bytes. */
const VECTOR_MOST: i32 = 127;
const I16_MOST: i32 = 32767;

/** Weights have eight bits, and meet a vector in two parts. The bytes of the others are below 64. */
@inline
export function isSplit<T>(): bool {
  return changetype<T>(0).most() > 63;
}

/** Weights as the dot product takes them, where they were bytes before the offset is taken off. */
@inline
export function operand<T>(bytes: v128): v128 {
  return isSplit<T>() && changetype<T>(0).offset() ? v128.xor(bytes, v128.load(SIGNS)) : bytes;
}

/** Products of 32 weights with a group, in four lanes; `s0`, `s1`: its two vectors. */
@inline
function products<T>(w0: v128, w1: v128, s0: v128, s1: v128, q0: v128, q1: v128): v128 {
  if (!isSplit<T>()) return dot(q1, w1, dot(q0, w0, s0));
  const none = i32x4.splat(0), u = operand<T>(w0), v = operand<T>(w1);
  return i32x4.sub(dot(v, q1, dot(u, q0, none)), i32x4.shl(dot(v, s1, dot(u, s0, none)), 7));
}

/** The sums of four rows' lanes, each with its scale; `perLane`: so many products are in each. */
@inline
function scaledSums<T>(a: v128, b: v128, c: v128, d: v128, scales: v128, perLane: i32): v128 {
  const most = perLane * changetype<T>(0).most() * VECTOR_MOST;
  if (2 * most <= I16_MOST) {
    const ones = v128.load(ONES);
    const ab = i32x4.dot_i16x8_s(i16x8.narrow_i32x4_s(a, b), ones);
    const cd = i32x4.dot_i16x8_s(i16x8.narrow_i32x4_s(c, d), ones);
    return i32x4.dot_i16x8_s(i16x8.narrow_i32x4_s(ab, cd), scales);
  }
  return i32x4.mul(most <= I16_MOST ? sumShort(a, b, c, d) : sumEach(a, b, c, d), i32x4.shr_s(scales, 16));
}

/** The sums of four vectors' lanes, which fit 16 bits. */
@inline
function sumShort(a: v128, b: v128, c: v128, d: v128): v128 {
  const ones = v128.load(ONES);
  const ab = i32x4.dot_i16x8_s(i16x8.narrow_i32x4_s(a, b), ones);
  const cd = i32x4.dot_i16x8_s(i16x8.narrow_i32x4_s(c, d), ones);
  return i32x4.add(v128.shuffle<i32>(ab, cd, 0, 2, 4, 6), v128.shuffle<i32>(ab, cd, 1, 3, 5, 7));
}

/** Without scales. */
@inline
function plainSums<T>(a: v128, b: v128, c: v128, d: v128): v128 {
  const most = 8 * changetype<T>(0).most() * VECTOR_MOST;
  if (2 * most <= I16_MOST) return scaledSums<T>(a, b, c, d, v128.load(ONES), 8);
  return most <= I16_MOST ? sumShort(a, b, c, d) : sumEach(a, b, c, d);
}

/** Four rows of blocks of 32. Outputs are a lane each. The branch is never taken: see row-product.ts. */
export function fourByteRowsOf32<T>(x: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize): v128 {
  const f = changetype<T>(0);
  const a = f.a(), b = f.b();
  let sum = f32x4.splat(0);
  for (const end = x + (cols / 32) * GROUP_BYTES; x < end; x += GROUP_BYTES) {
    const s0 = v128.load(x, 16), s1 = v128.load(x, 32), q0 = v128.load(x, 48), q1 = v128.load(x, 64);
    const i = products<T>(f.bytes(p0, 0, a, b), f.bytes(p0, 1, a, b), s0, s1, q0, q1);
    const j = products<T>(f.bytes(p1, 0, a, b), f.bytes(p1, 1, a, b), s0, s1, q0, q1);
    if (!p0) break;
    const k = products<T>(f.bytes(p2, 0, a, b), f.bytes(p2, 1, a, b), s0, s1, q0, q1);
    const l = products<T>(f.bytes(p3, 0, a, b), f.bytes(p3, 1, a, b), s0, s1, q0, q1);
    const weights = f32x4.mul(v128.load32_splat(x), f32x4.convert_i32x4_s(plainSums<T>(i, j, k, l)));
    let product = f32x4.mul(f.scales(p0, p1, p2, p3), weights);
    if (f.hasMinima()) product = f32x4.add(product, f32x4.mul(f.minima(p0, p1, p2, p3), v128.load32_splat(x, 12)));
    sum = f32x4.add(sum, product);
    p0 += f.blockBytes(); p1 += f.blockBytes(); p2 += f.blockBytes(); p3 += f.blockBytes();
  }
  return sum;
}

/**
 * Four rows of blocks of 256. All eight sub-blocks stand here, so that addresses are constants. The stores keep V8 from taking loads and shifts that two
 * sub-blocks have in common to the first of them, where they spill.
 */
export function fourByteRowsOf256<T>(
  x: usize, table: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize,
): v128 {
  const f = changetype<T>(0);
  const a = f.a(), b = f.b();
  let sum = f32x4.splat(0);
  for (const end = x + (cols / 32) * GROUP_BYTES; x < end; x += 8 * GROUP_BYTES) {
    storeScales<T>(table, p0, p1, p2, p3);
    let product = addWeights<T>(f32x4.splat(0), x, table, p0, p1, p2, p3, 0, a, b);
    v128.store(table, product, WAITING_AT);
    product = addWeights<T>(product, x, table, p0, p1, p2, p3, 1, a, b);
    v128.store(table, product, WAITING_AT);
    product = addWeights<T>(product, x, table, p0, p1, p2, p3, 2, a, b);
    v128.store(table, product, WAITING_AT);
    product = addWeights<T>(product, x, table, p0, p1, p2, p3, 3, a, b);
    v128.store(table, product, WAITING_AT);
    product = addWeights<T>(product, x, table, p0, p1, p2, p3, 4, a, b);
    v128.store(table, product, WAITING_AT);
    product = addWeights<T>(product, x, table, p0, p1, p2, p3, 5, a, b);
    v128.store(table, product, WAITING_AT);
    product = addWeights<T>(product, x, table, p0, p1, p2, p3, 6, a, b);
    v128.store(table, product, WAITING_AT);
    product = addWeights<T>(product, x, table, p0, p1, p2, p3, 7, a, b);
    product = f32x4.mul(v128.load(table), product);
    if (f.hasMinima()) product = f32x4.sub(product, f32x4.mul(v128.load(table, 16), sumMinima<T>(x, table)));
    sum = f32x4.add(sum, product);
    p0 += f.blockBytes(); p1 += f.blockBytes(); p2 += f.blockBytes(); p3 += f.blockBytes();
  }
  return sum;
}

/** sum + s · Σ w · q of sub-block j. */
@inline
function addWeights<T>(
  sum: v128, x: usize, table: usize, p0: usize, p1: usize, p2: usize, p3: usize, j: usize, a: v128, b: v128,
): v128 {
  const f = changetype<T>(0);
  const scales = table + SCALES_AT + j * (512 / f.shared()), group = x + j * GROUP_BYTES;
  let integers: v128;
  if (f.shared() == 32) {
    integers = sumSubBlocks<T>(group, p0, p1, p2, p3, j, a, b, v128.load(scales));
  } else {
    integers = i32x4.add(
      sumHalves<T>(group, p0, p1, p2, p3, j, 0, a, b, v128.load(scales)),
      sumHalves<T>(group, p0, p1, p2, p3, j, 1, a, b, v128.load(scales + 16)),
    );
  }
  return f32x4.add(sum, f32x4.mul(v128.load32_splat(group), f32x4.convert_i32x4_s(integers)));
}

/** Half h of sub-block j of the block at p. */
@inline
function bytesOfSubBlock<T>(p: usize, j: usize, h: i32, a: v128, b: v128): v128 {
  const f = changetype<T>(0);
  const each: usize = 8 / f.stretches(), stretch = j / each, t = <i32>(j % each);
  return f.bytes(p, stretch, t, h, f.high(stretch, t), a, b);
}

/** Of four rows' sub-blocks, scales included. */
@inline
function sumSubBlocks<T>(
  x: usize, p0: usize, p1: usize, p2: usize, p3: usize, j: usize, a: v128, b: v128, scales: v128,
): v128 {
  const s0 = v128.load(x + 16), s1 = v128.load(x + 32), q0 = v128.load(x + 48), q1 = v128.load(x + 64);
  const i = products<T>(bytesOfSubBlock<T>(p0, j, 0, a, b), bytesOfSubBlock<T>(p0, j, 1, a, b), s0, s1, q0, q1);
  const k = products<T>(bytesOfSubBlock<T>(p1, j, 0, a, b), bytesOfSubBlock<T>(p1, j, 1, a, b), s0, s1, q0, q1);
  const l = products<T>(bytesOfSubBlock<T>(p2, j, 0, a, b), bytesOfSubBlock<T>(p2, j, 1, a, b), s0, s1, q0, q1);
  const m = products<T>(bytesOfSubBlock<T>(p3, j, 0, a, b), bytesOfSubBlock<T>(p3, j, 1, a, b), s0, s1, q0, q1);
  return scaledSums<T>(i, k, l, m, scales, 8);
}

/** Of half h of four rows' sub-blocks, scales included. */
@inline
function sumHalves<T>(
  x: usize, p0: usize, p1: usize, p2: usize, p3: usize, j: usize, h: i32, a: v128, b: v128, scales: v128,
): v128 {
  const start = v128.load(x + 16 * h + 16), q = v128.load(x + 16 * h + 48);
  const i = dot(q, bytesOfSubBlock<T>(p0, j, h, a, b), start), k = dot(q, bytesOfSubBlock<T>(p1, j, h, a, b), start);
  const l = dot(q, bytesOfSubBlock<T>(p2, j, h, a, b), start), m = dot(q, bytesOfSubBlock<T>(p3, j, h, a, b), start);
  return scaledSums<T>(i, k, l, m, scales, 4);
}

/** Σ m · s · Σ q of a block. */
@inline
function sumMinima<T>(x: usize, table: usize): v128 {
  const f = changetype<T>(0);
  let sum = f32x4.splat(0);
  for (const end = table + 8 * (512 / f.shared()); table < end; table += 512 / f.shared()) {
    if (f.shared() == 32) {
      sum = addProduct(sum, v128.load(table, MINIMA_AT), v128.load32_splat(x, 12));
    } else {
      sum = addProduct(sum, v128.load(table, MINIMA_AT), v128.load32_splat(x, 4));
      sum = addProduct(sum, v128.load(table, MINIMA_AT + 16), v128.load32_splat(x, 8));
    }
    x += GROUP_BYTES;
  }
  return sum;
}
