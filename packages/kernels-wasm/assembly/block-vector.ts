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
// Constants of the loop, in memory: see element.ts.
const MOST = memory.data<i16>([16383, 16383, 16383, 16383, 16383, 16383, 16383, 16383]);
const LEAST = memory.data<i16>([-16383, -16383, -16383, -16383, -16383, -16383, -16383, -16383]);
const ONES = memory.data<i16>([1, 1, 1, 1, 1, 1, 1, 1]);
const MAGNITUDE = memory.data<i32>([0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff]);
/** 1.5 · 2^23: from 2^23 to 2^24 the floats are the integers. */
const INTEGERS_FROM = memory.data<f32>([12582912, 12582912, 12582912, 12582912]);
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
    // A NaN or an infinity shows through the scale.
    if (scale > 0 && scale < Infinity) {
      const first = quantise16(out + 16, x, scale, natural), second = quantise16(out + 48, x + 64, scale, natural);
      storeSums(out, scale, first, second, offset, halves);
    } else {
      memory.fill(out + 16, 0, 64);
      storeSums(out, scale, i32x4.splat(0), i32x4.splat(0), offset, halves);
    }
    out += GROUP_BYTES;
  }
}

/** `a`, `b`: Σq of the halves, in four lanes each. */
@inline
function storeSums(out: usize, scale: f32, a: v128, b: v128, offset: i32, halves: i32): void {
  const both = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const sums = i32x4.add(both, v128.shuffle<i32>(both, both, 2, 3, 0, 1));
  const first = i32x4.extract_lane(sums, 0), second = i32x4.extract_lane(sums, 1);
  if (halves == 2) {
    store<f32>(out, scale * <f32>first, 4);
    store<f32>(out, scale * <f32>second, 8);
  } else {
    store<i32>(out, offset * (halves ? first : first + second), 4);
    store<i32>(out, offset * second, 8);
  }
  store<f32>(out, scale * <f32>(first + second), 12);
}

/** Sixteen elements; returns their sum in four lanes. */
@inline
function quantise16(q: usize, x: usize, scale: f32, natural: bool): v128 {
  const s = f32x4.splat(scale);
  let a = round4(f32x4.div(v128.load(x), s)), b = round4(f32x4.div(v128.load(x, 16), s));
  let c = round4(f32x4.div(v128.load(x, 32), s)), d = round4(f32x4.div(v128.load(x, 48), s));
  if (!natural) {
    const odd = v128.shuffle<i32>(a, b, 1, 3, 5, 7);
    a = v128.shuffle<i32>(a, b, 0, 2, 4, 6);
    b = v128.shuffle<i32>(c, d, 0, 2, 4, 6);
    d = v128.shuffle<i32>(c, d, 1, 3, 5, 7);
    c = odd;
  }
  const u = clamp(i16x8.narrow_i32x4_s(a, b)), v = clamp(i16x8.narrow_i32x4_s(c, d));
  v128.store(q, u);
  v128.store(q, v, 16);
  const ones = v128.load(ONES);
  return i32x4.add(i32x4.dot_i16x8_s(u, ones), i32x4.dot_i16x8_s(v, ones));
}

@inline
function clamp(q: v128): v128 {
  return i16x8.max_s(i16x8.min_s(q, v128.load(MOST)), v128.load(LEAST));
}

/** To the nearest i32, ties to even, of |x| < 2^22: the sum's last place is 1, and its bits count from those of `INTEGERS_FROM`. */
@inline
export function round4(x: v128): v128 {
  const integers = v128.load(INTEGERS_FROM);
  return i32x4.sub(f32x4.add(x, integers), integers);
}

/** max |x[k]|; NaN if any is: as integers the bits are in the order of the magnitudes, and NaN comes last. */
@inline
export function largestOf32(x: usize): f32 {
  const a = i32x4.max_s(magnitude(x), magnitude(x + 16)), b = i32x4.max_s(magnitude(x + 32), magnitude(x + 48));
  const c = i32x4.max_s(magnitude(x + 64), magnitude(x + 80)), d = i32x4.max_s(magnitude(x + 96), magnitude(x + 112));
  const m = i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d));
  const n = i32x4.max_s(m, v128.shuffle<i32>(m, m, 2, 3, 0, 1));
  return reinterpret<f32>(max<i32>(i32x4.extract_lane(n, 0), i32x4.extract_lane(n, 1)));
}

@inline
function magnitude(x: usize): v128 {
  return v128.and(v128.load(x), v128.load(MAGNITUDE));
}
