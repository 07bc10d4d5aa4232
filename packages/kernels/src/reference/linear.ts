/** `linear` and `gatherRow`: matrices that stay in DRAM. */
import { assert, blocksOf, isPlainDType, paddedLength, rowBytes } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { Matrix } from "../contract.js";
import type { ArenaViews } from "./arena-views.js";
import { blockProducts, groupVectors, VECTOR_MOST } from "./block-product.js";
import { decodeRow } from "./row-decoder.js";
import { prepareVectors, RowBuffer } from "./row-product.js";

/** See `Kernels.linear`; `vectorMost`: |q| of vectors beside rows of blocks. */
export function linear(
  views: ArenaViews,
  out: Ptr,
  x: Ptr,
  w: Matrix,
  bias: Ptr,
  nTokens: number,
  rowBegin: number,
  rowEnd: number,
  vectorMost = VECTOR_MOST,
): void {
  const { f32 } = views;
  const outStride = paddedLength(w.rows);
  const sums = new Float32Array(nTokens);
  const multiply = rowMultiplier(views, w, x, nTokens, vectorMost);
  for (let r = rowBegin; r < rowEnd; r++) {
    multiply(sums, r);
    for (let t = 0; t < nTokens; t++) {
      f32[out / 4 + t * outStride + r] = bias ? sums[t]! + f32[bias / 4 + r]! : sums[t]!;
    }
  }
  if (rowEnd === w.rows) zeroPadding(f32, out, w.rows, nTokens);
}

/** What gives the products of row r with all vectors. */
function rowMultiplier(
  views: ArenaViews,
  { dtype, data, scales, cols }: Matrix,
  x: Ptr,
  nTokens: number,
  vectorMost: number,
): (sums: Float32Array, r: number) => void {
  const stride = rowBytes(dtype, cols);
  const blocks = blocksOf(dtype);
  if (blocks) {
    const vectors = groupVectors(views, x, cols, nTokens, vectorMost);
    return (sums, r) => blockProducts(sums, blocks, views.u8, data + r * stride, vectors);
  }
  assert(isPlainDType(dtype), "what has no blocks is plain");
  const batch = prepareVectors(views, dtype, x, cols, nTokens);
  const rows = new RowBuffer(views, dtype, cols);
  return (sums, r) => {
    const row = rows.at(data + r * stride);
    const rowScale = dtype === "int8" ? views.f32[scales / 4 + r]! : 1;
    for (let t = 0; t < nTokens; t++) sums[t] = batch.product(row, t, rowScale);
  };
}

/** See `Kernels.gatherRow`. */
export function gatherRow({ f32, u8 }: ArenaViews, out: Ptr, w: Matrix, row: number): void {
  const values = f32.subarray(out / 4, out / 4 + w.cols);
  decodeRow(w.dtype, u8, w.data + row * rowBytes(w.dtype, w.cols), w.cols, values);
  if (w.dtype === "int8") for (let k = 0; k < w.cols; k++) values[k] = values[k]! * f32[w.scales / 4 + row]!;
  zeroPadding(f32, out, w.cols, 1);
}

/** Zeros what lies beyond `n` elements in each vector of a batch. */
export function zeroPadding(f32: Float32Array, out: Ptr, n: number, nTokens: number): void {
  const stride = paddedLength(n);
  for (let t = 0; t < nTokens; t++) f32.fill(0, out / 4 + t * stride + n, out / 4 + (t + 1) * stride);
}
