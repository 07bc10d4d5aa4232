/**
 * Activation vectors beside rows of blocks, in a thread's own scratch: integers in groups of 32, each with a scale (contract.ts).
 *
 *   group, 80 bytes:  s f32 | two words | s · Σq f32 | q0 q1 q2 q3, eight i16 each
 *
 * The two words are what a format needs of its halves' sums: offset · Σq as i32 (of the whole group in the first word where 32 elements share a scale), or,
 * for minima of 16 elements, s · Σq as f32. q0, q1: even and odd elements of the first half, q2, q3: of the second; or as they are.
 */

/** |q|: 32 products with |w| ≤ 4096 stay below 2^31. */
const VECTOR_MOST: i16 = 16383;
/** 1.5 · 2^23: from 2^23 to 2^24 the floats are the integers. */
const INTEGERS_FROM: f32 = 12582912;
export const GROUP_BYTES: usize = 80;

/** Bytes of a vector. */
@inline
export function groupedBytes(cols: usize): usize {
  return (cols / 32) * GROUP_BYTES;
}

/**
 * @param offset  What weights are less than their bytes.
 * @param halves  0: 32 elements share a scale; 1: 16 do; 2: 16 share a minimum.
 * @param natural q as they are.
 */
export function groupVector(out: usize, x: usize, cols: usize, offset: i32, halves: i32, natural: bool): void {
  for (const end = x + 4 * cols; x < end; x += 128) {
    const scale = largestOf32(x) / <f32>VECTOR_MOST;
    store<f32>(out, scale);
    let first = 0, second = 0;
    // A NaN or an infinity shows through the scale.
    if (scale > 0 && scale < Infinity) {
      first = quantise16(out + 16, x, scale, natural);
      second = quantise16(out + 48, x + 64, scale, natural);
    } else memory.fill(out + 16, 0, 64);
    storeSums(out, scale, first, second, offset, halves);
    out += GROUP_BYTES;
  }
}

@inline
function storeSums(out: usize, scale: f32, first: i32, second: i32, offset: i32, halves: i32): void {
  if (halves == 2) {
    store<f32>(out, scale * <f32>first, 4);
    store<f32>(out, scale * <f32>second, 8);
  } else {
    store<i32>(out, offset * (halves ? first : first + second), 4);
    store<i32>(out, offset * second, 8);
  }
  store<f32>(out, scale * <f32>(first + second), 12);
}

/** Sixteen elements; returns their sum. */
function quantise16(q: usize, x: usize, scale: f32, natural: bool): i32 {
  const s = f32x4.splat(scale), integers = f32x4.splat(INTEGERS_FROM);
  const most = i16x8.splat(VECTOR_MOST), least = i16x8.neg(most);
  const a = round4(f32x4.div(v128.load(x), s), integers), b = round4(f32x4.div(v128.load(x, 16), s), integers);
  const c = round4(f32x4.div(v128.load(x, 32), s), integers), d = round4(f32x4.div(v128.load(x, 48), s), integers);
  const u = i16x8.max_s(i16x8.min_s(i16x8.narrow_i32x4_s(a, b), most), least);
  const v = i16x8.max_s(i16x8.min_s(i16x8.narrow_i32x4_s(c, d), most), least);
  if (natural) {
    v128.store(q, u);
    v128.store(q, v, 16);
  } else {
    const even = i16x8.narrow_i32x4_s(i32x4.shr_s(i32x4.shl(u, 16), 16), i32x4.shr_s(i32x4.shl(v, 16), 16));
    v128.store(q, even);
    v128.store(q, i16x8.narrow_i32x4_s(i32x4.shr_s(u, 16), i32x4.shr_s(v, 16)), 16);
  }
  const ones = i16x8.splat(1);
  const sums = i32x4.add(i32x4.dot_i16x8_s(u, ones), i32x4.dot_i16x8_s(v, ones));
  return (
    i32x4.extract_lane(sums, 0) + i32x4.extract_lane(sums, 1) + (i32x4.extract_lane(sums, 2) + i32x4.extract_lane(sums, 3))
  );
}

/** To the nearest i32, ties to even, of |x| < 2^22: the sum's last place is 1, and its bits count from those of `integers`. */
@inline
function round4(x: v128, integers: v128): v128 {
  return i32x4.sub(f32x4.add(x, integers), integers);
}

/** max |x[k]|; NaN if any is: as integers the bits are in the order of the magnitudes, and NaN comes last. */
function largestOf32(x: usize): f32 {
  const magnitude = i32x4.splat(0x7fffffff);
  let m = i32x4.splat(0);
  for (const end = x + 128; x < end; x += 16) m = i32x4.max_s(m, v128.and(v128.load(x), magnitude));
  const a = max<i32>(i32x4.extract_lane(m, 0), i32x4.extract_lane(m, 1));
  const b = max<i32>(i32x4.extract_lane(m, 2), i32x4.extract_lane(m, 3));
  return reinterpret<f32>(max<i32>(a, b));
}
