/**
 * Pieces of ggml's blocks: packed integers as one element a byte, bytes as products with a vector, f16 scales of four rows.
 *
 * Constants of inner loops are loaded from memory, before the loop: V8 13 makes constant vectors anew at each use (element.ts), and no load
 * is taken from one side of a store to the other.
 */
import { HALF_FACTOR, HALF_MASK } from "./element";

const HALF_MASKS = memory.data<i32>([HALF_MASK, HALF_MASK, HALF_MASK, HALF_MASK]);
const HALF_FACTORS = memory.data<f32>([HALF_FACTOR, HALF_FACTOR, HALF_FACTOR, HALF_FACTOR]);
const HALF_MAGNITUDE = memory.data<i32>([0x7fff, 0x7fff, 0x7fff, 0x7fff]);
const HALF_SIGN = memory.data<i32>([0x8000, 0x8000, 0x8000, 0x8000]);
/** From an exponent of f16 to that of f32. */
const NORMAL_REBIAS = memory.data<i32>([0x38000000, 0x38000000, 0x38000000, 0x38000000]);
/** The least exponent. */
const LEAST_NORMAL = memory.data<i32>([0x00800000, 0x00800000, 0x00800000, 0x00800000]);
const LOW_NIBBLES = memory.data<i32>([0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f]);
const LOW_NIBBLES_OF_PAIRS = memory.data<i32>([0x000f000f, 0x000f000f, 0x000f000f, 0x000f000f]);
const LOW_BYTES = memory.data<i32>([0x00ff00ff, 0x00ff00ff, 0x00ff00ff, 0x00ff00ff]);
const FIFTH_BITS = memory.data<i32>([0x10101010, 0x10101010, 0x10101010, 0x10101010]);
const THIRD_BITS = memory.data<i32>([0x04040404, 0x04040404, 0x04040404, 0x04040404]);
const TWO_BITS = memory.data<i32>([0x03030303, 0x03030303, 0x03030303, 0x03030303]);
const UPPER_TWO_BITS = memory.data<i32>([0x30303030, 0x30303030, 0x30303030, 0x30303030]);
/** Bit i mod 8 in byte i. */
const EACH_BIT = memory.data<u8>([1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128]);
const EIGHT_TWICE = memory.data<u8>([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
/** The numbers of IQ4_NL and IQ4_XS, and {@link NON_LINEAR_OFFSET}: bytes without a sign are widened in one operation. */
const NON_LINEAR = memory.data<u8>([1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241]);
export const NON_LINEAR_OFFSET: i32 = 128;
/** Twice the values of E2M1, and {@link E2M1_OFFSET}. */
const E2M1_TWICE = memory.data<u8>([12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0]);
export const E2M1_OFFSET: i32 = 12;

/** The lowest nibble of each 16 bits. */
@inline
export function lowNibblesOfPairs(): v128 {
  return v128.load(LOW_NIBBLES_OF_PAIRS);
}

@inline
export function lowNibbles(): v128 {
  return v128.load(LOW_NIBBLES);
}

/** Bit k of each byte. */
@inline
export function bitOfBytes(k: usize): v128 {
  return v128.load8_splat(EACH_BIT + k);
}

/** 16 in each byte. */
@inline
export function fifthBit(): v128 {
  return v128.load(FIFTH_BITS);
}

/** 4 in each byte. */
@inline
export function thirdBit(): v128 {
  return v128.load(THIRD_BITS);
}

@inline
export function lowTwoBits(): v128 {
  return v128.load(TWO_BITS);
}

/** Bits 4 and 5 of each byte. */
@inline
export function upperTwoBits(): v128 {
  return v128.load(UPPER_TWO_BITS);
}

@inline
export function nonLinearTable(): v128 {
  return v128.load(NON_LINEAR);
}

@inline
export function twiceE2M1Table(): v128 {
  return v128.load(E2M1_TWICE);
}

/** The low byte of each 16 bits. */
@inline
export function lowBytes(): v128 {
  return v128.load(LOW_BYTES);
}

/** Sixteen bytes of nibbles: the low (0) or the high (1) ones. */
@inline
export function nibbles(p: usize, which: i32, low: v128): v128 {
  const v = v128.load(p);
  return v128.and(which ? i16x8.shr_u(v, 4) : v, low);
}

/** 16 (`fifth`) where the bit of an element is set, of sixteen bits at p. */
@inline
export function fifthBits(p: usize, fifth: v128): v128 {
  const each = v128.load(EACH_BIT);
  // Not a shuffle: V8 makes its pattern on the stack, and waits for it.
  const spread = i8x16.swizzle(v128.load16_splat(p), v128.load(EIGHT_TWICE));
  return v128.and(i8x16.eq(v128.and(spread, each), each), fifth);
}

/** `value` where bytes at p have the bit of `high`, which is the same in each byte; elsewhere 0. */
@inline
export function highBits(p: usize, high: v128, value: v128): v128 {
  return v128.and(i8x16.eq(v128.and(v128.load(p), high), high), value);
}

/** Bits 2t and 2t + 1 of sixteen bytes. */
@inline
export function twoBits(p: usize, t: i32, low: v128): v128 {
  const v = v128.load(p);
  return v128.and(t ? i16x8.shr_u(v, 2 * t) : v, low);
}

/** The same, sixteen times. */
@inline
export function twoBitsAbove(p: usize, t: i32, upper: v128): v128 {
  const v = v128.load(p);
  const there = t < 2 ? i16x8.shl(v, 4 - 2 * t) : t == 2 ? v : i16x8.shr_u(v, 2);
  return v128.and(there, upper);
}

/** Even bytes as i16. */
@inline
export function evenBytes(v: v128, low: v128): v128 {
  return v128.and(v, low);
}

/** Odd bytes as i16. */
@inline
export function oddBytes(v: v128): v128 {
  return i16x8.shr_u(v, 8);
}

/** Products of sixteen bytes with a vector's even and odd elements, summed in four lanes. */
@inline
export function dotBytes(v: v128, low: v128, even: v128, odd: v128): v128 {
  return i32x4.add(i32x4.dot_i16x8_s(evenBytes(v, low), even), i32x4.dot_i16x8_s(oddBytes(v), odd));
}

/** The sums of four vectors' lanes. */
@inline
export function sumEach(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return i32x4.add(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3));
}

/**
 * f16 in the upper half of each lane, as f32. Exact. A subnormal one is a subnormal f32 meanwhile, which some processors multiply
 * slowly; blocks of 256, where they are common, use {@link halvesOf256}.
 */
@inline
export function upperHalves(v: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shr_s(v, 3), v128.load(HALF_MASKS)), v128.load(HALF_FACTORS));
}

/** The f16 at four places, as f32. */
@inline
export function fourHalves(p0: usize, p1: usize, p2: usize, p3: usize): v128 {
  let v = v128.load16_lane(p0, i32x4.splat(0), 1);
  v = v128.load16_lane(p1, v, 3);
  v = v128.load16_lane(p2, v, 5);
  return upperHalves(v128.load16_lane(p3, v, 7));
}

/** The 32 bits at four places. */
@inline
export function fourWords(p0: usize, p1: usize, p2: usize, p3: usize): v128 {
  const v = v128.load32_lane(p1, v128.load32_zero(p0), 1);
  return v128.load32_lane(p3, v128.load32_lane(p2, v, 2), 3);
}

/** 2^(e − 128) of the bytes e at four places; of 0 and 1 a subnormal. */
@inline
export function fourPowersOfTwo(p0: usize, p1: usize, p2: usize, p3: usize): v128 {
  let e = v128.load8_lane(p1, v128.load8_lane(p0, i32x4.splat(0), 0), 4);
  e = v128.load8_lane(p3, v128.load8_lane(p2, e, 8), 12);
  const one = i32x4.splat(1);
  return v128.bitselect(i32x4.shl(i32x4.sub(e, one), 23), i32x4.shl(i32x4.add(e, one), 21), i32x4.gt_s(e, one));
}

/** f16 in the lower half of each lane, as f32. Exact, without subnormal operands: one is made a normal number, and 2^-14 taken off. */
@inline
export function halvesOf256(v: v128): v128 {
  const magnitude = i32x4.shl(v128.and(v, v128.load(HALF_MAGNITUDE)), 13), rebias = v128.load(NORMAL_REBIAS);
  const normal = i32x4.add(magnitude, rebias), step = v128.load(LEAST_NORMAL);
  const small = f32x4.sub(i32x4.add(normal, step), i32x4.add(rebias, step));
  const value = v128.bitselect(small, normal, i32x4.lt_s(magnitude, step));
  return v128.or(value, i32x4.shl(v128.and(v, v128.load(HALF_SIGN)), 16));
}
