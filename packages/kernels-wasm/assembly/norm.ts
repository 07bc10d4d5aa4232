/**
 * `layerNorm`, `rmsNorm`, `normHeads`: mean, then variance (of rms: mean 0), then the outputs.
 *
 * Order of summation: one f32x4 accumulator, four elements a step, sumLanes; lanes beyond n add zero.
 */
import { addProduct, loadTail, sumLanes } from "./element";
import { padded } from "./vector";

/** Codes of HeadNorm in src/wasm-kernels.ts. */
const RMS: i32 = 1;

export function layerNorm(
  out: usize, x: usize, weight: usize, bias: usize, n: usize, nTokens: usize, epsilon: f32,
): void {
  const stride = padded(n) * 4;
  for (let t: usize = 0; t < nTokens; t++) {
    layerNormVector(out + t * stride, x + t * stride, weight, bias, n, epsilon);
    memory.fill(out + t * stride + 4 * n, 0, stride - 4 * n);
  }
}

export function rmsNorm(out: usize, x: usize, weight: usize, n: usize, nTokens: usize, epsilon: f32): void {
  const stride = padded(n) * 4;
  for (let t: usize = 0; t < nTokens; t++) {
    rmsNormVector(out + t * stride, x + t * stride, weight, n, epsilon);
    memory.fill(out + t * stride + 4 * n, 0, stride - 4 * n);
  }
}

export function normHeads(
  x: usize, kind: i32, weight: usize, bias: usize, epsilon: f32, nHeads: usize, headDim: usize, nTokens: usize,
): void {
  const stride = padded(nHeads * headDim) * 4;
  for (let t: usize = 0; t < nTokens; t++) {
    const end = x + t * stride + 4 * nHeads * headDim;
    for (let head = x + t * stride; head < end; head += 4 * headDim) {
      if (kind == RMS) rmsNormVector(head, head, weight, headDim, epsilon);
      else layerNormVector(head, head, weight, bias, headDim, epsilon);
    }
  }
}

function layerNormVector(out: usize, x: usize, weight: usize, bias: usize, n: usize, epsilon: f32): void {
  const mean = sum(x, n) / <f32>n;
  const variance = squares(x, n, mean) / <f32>n;
  normalise(out, x, weight, bias, n, mean, <f32>1 / sqrt<f32>(variance + epsilon));
}

function rmsNormVector(out: usize, x: usize, weight: usize, n: usize, epsilon: f32): void {
  normalise(out, x, weight, 0, n, 0, <f32>1 / sqrt<f32>(squares(x, n, 0) / <f32>n + epsilon));
}

function sum(x: usize, n: usize): f32 {
  let a = f32x4.splat(0);
  const bulkEnd = x + 4 * (n & ~3);
  for (; x < bulkEnd; x += 16) a = f32x4.add(a, v128.load(x));
  if (n & 3) a = f32x4.add(a, loadTail<f32>(x, n & 3));
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
    const d = v128.and(f32x4.sub(loadTail<f32>(x, n & 3), m), inside);
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
