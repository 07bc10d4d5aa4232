/**
 * Activation vectors as bytes beside rows of blocks, in a thread's own scratch: integers within ±127 in groups of 32, each with a scale (contract.ts).
 *
 *   group, 80 bytes:  s f32 | two words | s · Σq f32 | two vectors | q i8 [32]
 *
 * The words are what products of a lane a row start from: -offset · Σq as i32, of the whole group in the first word where 32 elements share a scale, of its
 * halves where 16 do; for minima of 16 elements they are s · Σq of the halves as f32. The two vectors are what products of a lane each four neighbours start
 * from, -offset · Σq of each lane's elements: of all 32 in the first where they share a scale, of each half where 16 do.
 *
 * Beside weights of eight bits, q = l - 128 · n with 0 ≤ l ≤ 127 and n 0 or 1: the two vectors are n, and l stands in the place of q.
 */
import { dot } from "./byte-dot";
import { GROUP_BYTES, largestOf32, round4 } from "./block-vector";

const VECTOR_MOST: f32 = 127;
const LEAST = memory.data<i8>([
  -127, -127, -127, -127, -127, -127, -127, -127, -127, -127, -127, -127, -127, -127, -127, -127,
]);

/**
 * @param offset What weights are less than their bytes.
 * @param halves 0: 32 elements share a scale; 1: 16 do; 2: 16 share a minimum.
 * @param split  Weights have eight bits.
 */
export function groupBytes(out: usize, x: usize, cols: usize, offset: i32, halves: i32, split: bool): void {
  for (const end = x + 4 * cols; x < end; x += 128) {
    const scale = largestOf32(x) / VECTOR_MOST;
    store<f32>(out, scale);
    let a = i32x4.splat(0), b = a;
    // A NaN or an infinity shows through the scale.
    if (scale > 0 && scale < Infinity) {
      a = quantise16(x, scale);
      b = quantise16(x + 64, scale);
    }
    storeGroup(out, scale, a, b, offset, halves, split);
    out += GROUP_BYTES;
  }
}

function storeGroup(out: usize, scale: f32, a: v128, b: v128, offset: i32, halves: i32, split: bool): void {
  const ones = i8x16.splat(1), u = dot(a, ones, i32x4.splat(0)), v = dot(b, ones, i32x4.splat(0));
  const first = sumLanes(u), second = sumLanes(v);
  if (halves == 2) {
    store<f32>(out, scale * <f32>first, 4);
    store<f32>(out, scale * <f32>second, 8);
  } else {
    store<i32>(out, -offset * (halves ? first : first + second), 4);
    store<i32>(out, -offset * second, 8);
  }
  store<f32>(out, scale * <f32>(first + second), 12);
  if (split) {
    const low = i8x16.splat(127);
    v128.store(out, v128.and(i16x8.shr_u(a, 7), ones), 16);
    v128.store(out, v128.and(i16x8.shr_u(b, 7), ones), 32);
    a = v128.and(a, low);
    b = v128.and(b, low);
  } else {
    const factor = i32x4.splat(-offset);
    v128.store(out, i32x4.mul(factor, halves ? u : i32x4.add(u, v)), 16);
    v128.store(out, i32x4.mul(factor, v), 32);
  }
  v128.store(out, a, 48);
  v128.store(out, b, 64);
}

@inline
function sumLanes(a: v128): i32 {
  const b = i32x4.add(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  return i32x4.extract_lane(b, 0) + i32x4.extract_lane(b, 1);
}

/** Sixteen elements. Where the scale is a subnormal number, more than 127 of it may fit. */
@inline
function quantise16(x: usize, scale: f32): v128 {
  const s = f32x4.splat(scale);
  const a = round4(f32x4.div(v128.load(x), s)), b = round4(f32x4.div(v128.load(x, 16), s));
  const c = round4(f32x4.div(v128.load(x, 32), s)), d = round4(f32x4.div(v128.load(x, 48), s));
  const q = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
  return i8x16.max_s(q, v128.load(LEAST));
}
