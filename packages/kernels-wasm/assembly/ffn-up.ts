/** `ffnUp`: activations of the neurons in chosen slots. */
import { F16, INT8 } from "./element";
import { gelu4 } from "./exponential";
import { products } from "./linear";
import { HALF_SUM_FACTOR, padded, prepareVectors, vectorScale } from "./vector";

/** @param gelu 0: relu; 1: gelu. */
export function ffnUp(
  act: usize, x: usize, dtype: i32, base: usize, stride: usize, scalesOffset: usize, dModel: usize, bias: usize,
  slots: usize, n: usize, nTokens: usize, gelu: i32, scratch: usize, begin: usize, end: usize,
): void {
  const actStride = padded(n) * 4;
  if (begin < end) {
    const vectors = prepareVectors(scratch, x, dtype, dModel, nTokens);
    products(dtype, act, actStride, vectors, nTokens, base, stride, slots, begin, end, dModel);
  }
  for (let t: usize = 0; t < nTokens; t++) {
    const at = act + t * actStride;
    const factor = dtype == F16 ? HALF_SUM_FACTOR : dtype == INT8 ? vectorScale(scratch, t) : 1;
    const upScales = dtype == INT8 ? base + scalesOffset : 0;
    for (let i = begin; i < end; i++) finishSum(at + 4 * i, factor, upScales, stride, bias, load<u32>(slots + 4 * i));
    if (gelu) geluRange(at + 4 * begin, at + 4 * end);
    else reluRange(at + 4 * begin, at + 4 * end);
    if (end == n) memory.fill(at + 4 * n, 0, actStride - 4 * n);
  }
}

/** Scale and bias of one neuron; `upScales` is where slot 0 has its scale, 0 for none. */
@inline
function finishSum(p: usize, factor: f32, upScales: usize, stride: usize, bias: usize, slot: usize): void {
  if (upScales) factor *= load<f32>(upScales + slot * stride);
  let sum = load<f32>(p) * factor;
  if (bias) sum += load<f32>(bias + 4 * slot);
  store<f32>(p, sum);
}

function reluRange(p: usize, end: usize): void {
  for (; p + 16 <= end; p += 16) v128.store(p, f32x4.max(v128.load(p), f32x4.splat(0)));
  for (; p < end; p += 4) store<f32>(p, max<f32>(load<f32>(p), 0));
}

function geluRange(p: usize, end: usize): void {
  for (; p + 16 <= end; p += 16) v128.store(p, gelu4(v128.load(p)));
  for (; p < end; p += 4) store<f32>(p, f32x4.extract_lane(gelu4(f32x4.splat(load<f32>(p))), 0));
}
