/** `linear` and `gatherRow`: matrices that stay in DRAM. */
import { rowProductsBatch } from "./batch-product";
import { decodeBlocks } from "./block-decode";
import { blockProducts, isBlocks } from "./block-product";
import { BF16, Brain, F16, F32, HALF_FACTOR, Half, INT8, load1 } from "./element";
import { rowProducts } from "./row-product";
import { rowProductsInt8 } from "./row-product-int8";
import { HALF_SUM_FACTOR, inBlocks, isBatch, padded, prepareVectors, vectorScale } from "./vector";

/** Of plain elements. */
@inline
export function elementBytes(dtype: i32): usize {
  return dtype == F32 ? 4 : dtype == INT8 ? 1 : 2;
}

/**
 * Row products of any dtype with vectors from prepareVectors; sums are still to be scaled (f16, int8).
 *
 * @param vectors Its result, in the scratch of these vectors.
 */
export function products(
  dtype: i32, out: usize, outStride: usize, vectors: usize, nTokens: usize,
  base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): void {
  if (dtype == F32) productsOf<f32>(out, outStride, vectors, nTokens, base, stride, slots, begin, end, cols);
  else if (dtype == F16) productsOf<Half>(out, outStride, vectors, nTokens, base, stride, slots, begin, end, cols);
  else if (dtype == BF16) productsOf<Brain>(out, outStride, vectors, nTokens, base, stride, slots, begin, end, cols);
  else if (dtype == INT8) productsOf<i8>(out, outStride, vectors, nTokens, base, stride, slots, begin, end, cols);
  else unreachable();
}

function productsOf<T>(
  out: usize, outStride: usize, vectors: usize, nTokens: usize,
  base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): void {
  const width = padded(cols);
  const vStride = width * (sizeof<T>() == 1 ? 2 : 4);
  if (isBatch(nTokens)) {
    const workspace = vectors + inBlocks(nTokens) * vStride;
    rowProductsBatch<T>(out, outStride, vectors, vStride, nTokens, workspace, base, stride, slots, begin, end, width);
  } else if (sizeof<T>() == 1) {
    rowProductsInt8(out, outStride, vectors, vStride, nTokens, base, stride, slots, begin, end, width);
  } else {
    rowProducts<T>(out, outStride, vectors, vStride, nTokens, base, stride, slots, begin, end, width);
  }
}

export function linear(
  out: usize, x: usize, dtype: i32, data: usize, scales: usize, rows: usize, cols: usize,
  bias: usize, nTokens: usize, scratch: usize, rowBegin: usize, rowEnd: usize,
): void {
  if (rowBegin >= rowEnd) return;
  const outStride = padded(rows) * 4;
  // The module with relaxed SIMD has products of blocks only.
  if (ASC_FEATURE_RELAXED_SIMD || isBlocks(dtype)) {
    blockProducts(dtype, out, outStride, x, 4 * padded(cols), nTokens, data, scratch, rowBegin, rowEnd, cols);
  } else {
    const vectors = prepareVectors(scratch, x, dtype, cols, nTokens);
    products(dtype, out, outStride, vectors, nTokens, data, cols * elementBytes(dtype), 0, rowBegin, rowEnd, cols);
  }
  for (let t: usize = 0; t < nTokens; t++) {
    const at = out + t * outStride;
    if (dtype == F16) scaleSums(at, rowBegin, rowEnd, HALF_SUM_FACTOR);
    else if (dtype == INT8) scaleByRow(at, rowBegin, rowEnd, vectorScale(scratch, t), scales);
    if (bias) addBias(at, rowBegin, rowEnd, bias);
    if (rowEnd == rows) memory.fill(at + 4 * rows, 0, outStride - 4 * rows);
  }
}

/** out[i] *= factor, begin ≤ i < end. */
export function scaleSums(out: usize, begin: usize, end: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  let p = out + 4 * begin;
  const stop = out + 4 * end;
  for (; p + 16 <= stop; p += 16) v128.store(p, f32x4.mul(v128.load(p), f));
  for (; p < stop; p += 4) store<f32>(p, load<f32>(p) * factor);
}

/** out[i] *= fl(factor · scales[i]). */
function scaleByRow(out: usize, begin: usize, end: usize, factor: f32, scales: usize): void {
  const f = f32x4.splat(factor);
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const p = out + 4 * i;
    v128.store(p, f32x4.mul(v128.load(p), f32x4.mul(f, v128.load(scales + 4 * i))));
  }
  for (; i < end; i++) store<f32>(out + 4 * i, load<f32>(out + 4 * i) * (factor * load<f32>(scales + 4 * i)));
}

function addBias(out: usize, begin: usize, end: usize, bias: usize): void {
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const p = out + 4 * i;
    v128.store(p, f32x4.add(v128.load(p), v128.load(bias + 4 * i)));
  }
  for (; i < end; i++) store<f32>(out + 4 * i, load<f32>(out + 4 * i) + load<f32>(bias + 4 * i));
}

export function gatherRow(out: usize, dtype: i32, data: usize, scales: usize, cols: usize, row: usize): void {
  const p = data + row * cols * elementBytes(dtype);
  if (dtype == F32) decode<f32>(out, p, cols, 1);
  else if (dtype == F16) decode<Half>(out, p, cols, HALF_FACTOR);
  else if (dtype == BF16) decode<Brain>(out, p, cols, 1);
  else if (dtype == INT8) decode<i8>(out, p, cols, load<f32>(scales + 4 * row));
  else decodeBlocks(dtype, out, data, cols, row);
  memory.fill(out + 4 * cols, 0, 4 * (padded(cols) - cols));
}

function decode<T>(out: usize, p: usize, count: usize, factor: f32): void {
  for (let k: usize = 0; k < count; k++) store<f32>(out + 4 * k, load1<T>(p + k * sizeof<T>()) * factor);
}
