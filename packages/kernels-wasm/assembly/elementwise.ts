/** `add`, `addScaled`, `relu`, `scale`, `zero`, `selectAbove`. */
import { addProduct } from "./element";

export function add(out: usize, x: usize, count: usize): void {
  for (const end = out + 4 * count; out < end; out += 16) {
    v128.store(out, f32x4.add(v128.load(out), v128.load(x)));
    x += 16;
  }
}

export function addScaled(out: usize, x: usize, count: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  for (const end = out + 4 * count; out < end; out += 16) {
    v128.store(out, addProduct(v128.load(out), v128.load(x), f));
    x += 16;
  }
}

/** NaN stays NaN. */
export function relu(x: usize, count: usize): void {
  for (const end = x + 4 * count; x < end; x += 16) v128.store(x, f32x4.max(v128.load(x), f32x4.splat(0)));
}

export function scale(x: usize, count: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  for (const end = x + 4 * count; x < end; x += 16) v128.store(x, f32x4.mul(v128.load(x), f));
}

export function zero(out: usize, count: usize): void {
  memory.fill(out, 0, 4 * count);
}

/** Sixteen scores a step; most of them are not above, so whole steps are skipped. */
export function selectAbove(out: usize, scores: usize, n: usize, threshold: f32): usize {
  const limit = f32x4.splat(threshold);
  const begin = out;
  const bulk = n & ~15;
  let i: usize = 0;
  for (; i < bulk; i += 16) {
    const p = scores + 4 * i;
    const low = i16x8.narrow_i32x4_s(f32x4.gt(v128.load(p), limit), f32x4.gt(v128.load(p, 16), limit));
    const high = i16x8.narrow_i32x4_s(f32x4.gt(v128.load(p, 32), limit), f32x4.gt(v128.load(p, 48), limit));
    for (let bits = i8x16.bitmask(i8x16.narrow_i16x8_s(low, high)); bits; bits &= bits - 1) {
      store<u32>(out, <u32>i + ctz(bits));
      out += 4;
    }
  }
  for (; i < n; i++) {
    if (!(load<f32>(scores + 4 * i) > threshold)) continue;
    store<u32>(out, <u32>i);
    out += 4;
  }
  return (out - begin) >> 2;
}
