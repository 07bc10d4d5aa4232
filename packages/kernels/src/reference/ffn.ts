/** `ffnUp` and `ffnDown`: neurons as they lie in cache slots. */
import { type Activation, paddedLength, rowBytes } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { SlotMatrix } from "../contract.js";
import { activate } from "./activation.js";
import type { ArenaViews } from "./arena-views.js";
import { zeroPadding } from "./linear.js";
import { prepareVectors, RowBuffer } from "./row-product.js";

/** See `Kernels.ffnUp`. */
export function ffnUp(
  views: ArenaViews,
  act: Ptr,
  x: Ptr,
  matrix: SlotMatrix,
  slots: Ptr,
  n: number,
  nTokens: number,
  activation: Activation,
  begin: number,
  end: number,
): void {
  const { f32, u32 } = views;
  const batch = prepareVectors(views, matrix.dtype, x, matrix.dModel, nTokens);
  const rows = new RowBuffer(views, matrix.dtype, matrix.dModel);
  const actStride = paddedLength(n);
  for (let i = begin; i < end; i++) {
    const slot = u32[slots / 4 + i]!;
    const record = matrix.base + slot * matrix.strideBytes;
    const row = rows.at(record);
    const upScale = matrix.dtype === "int8" ? f32[(record + matrix.scalesOffsetBytes) / 4]! : 1;
    const bias = matrix.bias ? f32[matrix.bias / 4 + slot]! : 0;
    for (let t = 0; t < nTokens; t++) {
      const sum = Math.fround(batch.product(row, t, upScale) + bias);
      f32[act / 4 + t * actStride + i] = activate(sum, activation);
    }
  }
  if (end === n) zeroPadding(f32, act, n, nTokens);
}

/** See `Kernels.ffnDown`. The padding of a down column is zero, so columns may be summed up to the padded width. */
export function ffnDown(
  views: ArenaViews,
  out: Ptr,
  act: Ptr,
  matrix: SlotMatrix,
  slots: Ptr,
  n: number,
  nTokens: number,
  colBegin: number,
  colEnd: number,
): void {
  const { f32, u32 } = views;
  const actStride = paddedLength(n);
  const outStride = paddedLength(matrix.dModel);
  const columns = new RowBuffer(views, matrix.dtype, colEnd - colBegin);
  for (let i = 0; i < n; i++) {
    const record = matrix.base + u32[slots / 4 + i]! * matrix.strideBytes;
    const down = columns.at(record + matrix.downOffsetBytes + rowBytes(matrix.dtype, colBegin));
    const downScale = matrix.dtype === "int8" ? f32[(record + matrix.scalesOffsetBytes) / 4 + 1]! : 1;
    for (let t = 0; t < nTokens; t++) {
      const factor = Math.fround(f32[act / 4 + t * actStride + i]! * downScale);
      if (factor !== 0) addScaled(f32, out / 4 + t * outStride + colBegin, down, factor);
    }
  }
}

/** f32[at + j] += factor · column[j]. */
function addScaled(f32: Float32Array, at: number, column: Float32Array, factor: number): void {
  for (let j = 0; j < column.length; j++) f32[at + j] = f32[at + j]! + Math.fround(factor * column[j]!);
}
