/** binary16 in bulk. */
import { HALF_FACTOR, Half, load4 } from "./element";

/** Four f32 as binary16 in the low half of each lane, nearest even; |x| < 65536. */
@inline
export function encodeHalf4(x: v128): v128 {
  const sign = v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000));
  const magnitude = f32x4.abs(x);
  // Subnormal results: adding 0.5 leaves units of 2^-24 in the lowest bits of the fraction, rounded by the addition.
  const small = i32x4.sub(f32x4.add(magnitude, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  // Normal results: re-bias the exponent, then round to nearest even at bit 13.
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  const rebased = i32x4.sub(magnitude, i32x4.splat(0x38000000));
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(rebased, i32x4.splat(0xfff)), odd), 13);
  const isSmall = i32x4.lt_s(magnitude, i32x4.splat(0x38800000));
  return v128.or(v128.bitselect(small, normal, isSmall), sign);
}

@inline
export function storeHalf4(out: usize, x: v128): void {
  const h = encodeHalf4(x);
  v128.store64_lane(out, i16x8.narrow_i32x4_u(h, h), 0);
}

export function encodeF16(dst: usize, src: usize, count: usize): void {
  for (const end = src + 4 * count; src < end; src += 16) {
    storeHalf4(dst, v128.load(src));
    dst += 8;
  }
}

export function decodeF16(dst: usize, src: usize, count: usize): void {
  const factor = f32x4.splat(HALF_FACTOR);
  for (const end = src + 2 * count; src < end; src += 8) {
    v128.store(dst, f32x4.mul(load4<Half>(src), factor));
    dst += 16;
  }
}
