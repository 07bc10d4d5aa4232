/**
 * `layerNorm`: mean, then variance, then the outputs.
 *
 * Order of summation: one f32x4 accumulator, four elements a step, sumLanes; elements beyond n are left out of the variance.
 */
import { addProduct, sumLanes } from "./element";
import { padded } from "./vector";

export function layerNorm(
  out: usize, x: usize, weight: usize, bias: usize, n: usize, nTokens: usize, epsilon: f32,
): void {
  const stride = padded(n) * 4;
  for (let t: usize = 0; t < nTokens; t++) {
    const at = x + t * stride;
    const mean = sum(at, n) / <f32>n;
    const variance = squares(at, n, mean) / <f32>n;
    normalise(out + t * stride, at, weight, bias, n, mean, <f32>1 / sqrt<f32>(variance + epsilon));
    memory.fill(out + t * stride + 4 * n, 0, stride - 4 * n);
  }
}

/** Reads whole groups: what lies beyond n is zero. */
function sum(x: usize, n: usize): f32 {
  let a = f32x4.splat(0);
  for (const end = x + 4 * n; x < end; x += 16) a = f32x4.add(a, v128.load(x));
  return sumLanes(a);
}

function squares(x: usize, n: usize, mean: f32): f32 {
  const m = f32x4.splat(mean);
  let a = f32x4.splat(0);
  const bulkEnd = x + 4 * (n & ~3);
  for (; x < bulkEnd; x += 16) {
    const d = f32x4.sub(v128.load(x), m);
    a = addProduct(a, d, d);
  }
  if (n & 3) {
    const inside = i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(<i32>(n & 3)));
    const d = v128.and(f32x4.sub(v128.load(x), m), inside);
    a = addProduct(a, d, d);
  }
  return sumLanes(a);
}

function normalise(out: usize, x: usize, weight: usize, bias: usize, n: usize, mean: f32, factor: f32): void {
  const m = f32x4.splat(mean), f = f32x4.splat(factor);
  let i: usize = 0;
  for (; i + 4 <= n; i += 4) {
    let v = f32x4.mul(f32x4.sub(v128.load(x + 4 * i), m), f);
    if (weight) v = f32x4.mul(v, v128.load(weight + 4 * i));
    if (bias) v = f32x4.add(v, v128.load(bias + 4 * i));
    v128.store(out + 4 * i, v);
  }
  for (; i < n; i++) {
    let v = (load<f32>(x + 4 * i) - mean) * factor;
    if (weight) v *= load<f32>(weight + 4 * i);
    if (bias) v += load<f32>(bias + 4 * i);
    store<f32>(out + 4 * i, v);
  }
}
