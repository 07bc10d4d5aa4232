/**
 * Stored elements as f32.
 *
 * A type parameter T names the element: `f32`, `Half` (binary16), `Brain` (bfloat16), `i8`. A half is turned into the
 * f32 of its value times 2^-112 by moving its bits: sign and fraction fall into place, and the exponent keeps its own bias of
 * 15 where f32 has 127. This is exact for normal and subnormal halves; infinities and NaN do not occur in stored
 * weights. The factor is taken back by scaling the other operand, see `Half` in each kernel.
 */

/** binary16. An alias, so that the size and signedness of T select the code at compile time. */
export type Half = i16;
/** bfloat16. */
export type Brain = u16;

/** What a decoded `Half` must be multiplied with: 2^112. */
export const HALF_FACTOR: f32 = reinterpret<f32>(0x77800000);
/** Sign, exponent and fraction of a half, once shifted into place. */
export const HALF_MASK: i32 = 0x8fffe000;

/*
 * Constants of inner loops lie in memory and are loaded before the loop: a constant in the code is made anew at each use by V8 13
 * (three instructions, measured in Node 24: f16 products took 1.8 times as long).
 */
const HALF_MASK_AT: usize = memory.data<i32>([0x8fffe000]);
const BRAIN_MASK_AT: usize = memory.data<i32>([0xffff0000]);
const HALF_LIFT_AT: usize = memory.data<i32>([8192]);
const BYTE_LIFT_AT: usize = memory.data<i32>([1]);

/** What `first8` and `second8` leave of a lane; 16-bit types. */
@inline
export function weightMask<T>(): v128 {
  return v128.load32_splat(isSigned<T>() ? HALF_MASK_AT : BRAIN_MASK_AT);
}

/** Factors of the even (2^13 for halves, 1 for int8) and the odd one (0) in a lane, two i16. */
@inline
export function weightLift<T>(): v128 {
  return v128.load32_splat(sizeof<T>() == 1 ? BYTE_LIFT_AT : HALF_LIFT_AT);
}

export { BF16, F16, F32, INT8 } from "../../kernels/src/dtype-constants";

/** Four consecutive elements. */
@inline
export function load4<T>(p: usize): v128 {
  if (isFloat<T>()) return v128.load(p);
  if (sizeof<T>() == 1) {
    return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(p))));
  }
  if (isSigned<T>()) return v128.and(i32x4.shl(v128.load16x4_s(p), 13), i32x4.splat(HALF_MASK));
  return i32x4.shl(v128.load16x4_u(p), 16);
}

/** One element. */
@inline
export function load1<T>(p: usize): f32 {
  if (isFloat<T>()) return load<f32>(p);
  if (sizeof<T>() == 1) return <f32>(<i32>load<i8>(p));
  if (isSigned<T>()) return reinterpret<f32>(((<i32>load<i16>(p)) << 13) & HALF_MASK);
  return reinterpret<f32>((<i32>load<u16>(p)) << 16);
}

/** One to three elements, zeros behind them; nothing beyond is read. */
@inline
export function loadTail<T>(p: usize, count: usize): v128 {
  let v = f32x4.replace_lane(f32x4.splat(0), 0, load1<T>(p));
  if (count > 1) v = f32x4.replace_lane(v, 1, load1<T>(p + sizeof<T>()));
  if (count > 2) v = f32x4.replace_lane(v, 2, load1<T>(p + 2 * sizeof<T>()));
  return v;
}

/**
 * Eight consecutive elements in two halves: `loadEight`, then `first8` and `second8` of what it gave. For f32 they are the lower
 * and the upper four, for all others the even and the odd ones, because a 32-bit lane holds one of each, and shifting is cheaper
 * than shuffling. Vectors that meet them are put in the same order first (vector.ts).
 */
@inline
export function loadEight<T>(p: usize): v128 {
  return sizeof<T>() == 1 ? v128.load8x8_s(p) : v128.load(p);
}

/**
 * @param mask {@link weightMask}; @param lift {@link weightLift}: loop invariants.
 *
 * The product with `lift` takes the even ones, shifted and with their sign, in one instruction where x86 has no other
 * than two shifts on busier ports: f16 runs at 24 instead of 20 GB/s from the cache.
 */
@inline
export function first8<T>(loaded: v128, mask: v128, lift: v128): v128 {
  if (isFloat<T>()) return loaded;
  if (sizeof<T>() == 1) return f32x4.convert_i32x4_s(i32x4.dot_i16x8_s(loaded, lift));
  if (isSigned<T>()) return v128.and(i32x4.dot_i16x8_s(loaded, lift), mask);
  return i32x4.shl(loaded, 16);
}

/** @param p Where `loaded` came from. */
@inline
export function second8<T>(loaded: v128, p: usize, mask: v128): v128 {
  if (isFloat<T>()) return v128.load(p, 16);
  if (sizeof<T>() == 1) return f32x4.convert_i32x4_s(i32x4.shr_s(loaded, 16));
  if (isSigned<T>()) return v128.and(i32x4.shr_s(loaded, 3), mask);
  return v128.and(loaded, mask);
}

/** (l0 + l2) + (l1 + l3): how every f32 sum of this module ends. */
@inline
export function sumLanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 2) + (f32x4.extract_lane(v, 1) + f32x4.extract_lane(v, 3))
  );
}

/** sum + a · b, two roundings. */
@inline
export function addProduct(sum: v128, a: v128, b: v128): v128 {
  return f32x4.add(sum, f32x4.mul(a, b));
}
