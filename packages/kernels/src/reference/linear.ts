/** `linear` and `gatherRow`: matrices that stay in DRAM. */
import { bytesPerElement, paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { Matrix } from "../contract.js";
import type { ArenaViews } from "./arena-views.js";
import { prepareVectors, RowBuffer } from "./row-product.js";

/** See `Kernels.linear`. */
export function linear(
  views: ArenaViews,
  out: Ptr,
  x: Ptr,
  w: Matrix,
  bias: Ptr,
  nTokens: number,
  rowBegin: number,
  rowEnd: number,
): void {
  const { f32 } = views;
  const batch = prepareVectors(views, w.dtype, x, w.cols, nTokens);
  const rows = new RowBuffer(views, w.dtype, w.cols);
  const rowBytes = w.cols * bytesPerElement(w.dtype);
  const outStride = paddedLength(w.rows);
  for (let r = rowBegin; r < rowEnd; r++) {
    const row = rows.at(w.data + r * rowBytes);
    const rowScale = w.dtype === "int8" ? f32[w.scales / 4 + r]! : 1;
    for (let t = 0; t < nTokens; t++) {
      const sum = batch.product(row, t, rowScale);
      f32[out / 4 + t * outStride + r] = bias ? sum + f32[bias / 4 + r]! : sum;
    }
  }
  if (rowEnd === w.rows) zeroPadding(f32, out, w.rows, nTokens);
}

/** See `Kernels.gatherRow`. */
export function gatherRow(views: ArenaViews, out: Ptr, w: Matrix, row: number): void {
  const { f32 } = views;
  const values = new RowBuffer(views, w.dtype, w.cols).at(w.data + row * w.cols * bytesPerElement(w.dtype));
  const scale = w.dtype === "int8" ? f32[w.scales / 4 + row]! : 1;
  for (let k = 0; k < w.cols; k++) f32[out / 4 + k] = values[k]! * scale;
  zeroPadding(f32, out, w.cols, 1);
}

/** Zeros what lies beyond `n` elements in each vector of a batch. */
export function zeroPadding(f32: Float32Array, out: Ptr, n: number, nTokens: number): void {
  const stride = paddedLength(n);
  for (let t = 0; t < nTokens; t++) f32.fill(0, out / 4 + t * stride + n, out / 4 + (t + 1) * stride);
}
