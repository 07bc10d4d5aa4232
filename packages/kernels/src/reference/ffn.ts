/** `ffnUp` and `ffnDown`: neurons as they lie in cache slots. */
import { type ActivationFunction, paddedLength, rowBytes } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { SlotMatrix } from "../contract.js";
import { activate, activateGated } from "./activation.js";
import type { ArenaViews } from "./arena-views.js";
import { zeroPadding } from "./linear.js";
import { prepareVectors, RowBuffer, type VectorBatch } from "./row-product.js";

/** See `Kernels.ffnUp`. */
export function ffnUp(
  views: ArenaViews,
  act: Ptr,
  x: Ptr,
  matrix: SlotMatrix,
  slots: Ptr,
  n: number,
  nTokens: number,
  activation: ActivationFunction,
  begin: number,
  end: number,
): void {
  const { f32, u32 } = views;
  const batch = prepareVectors(views, matrix.dtype, x, matrix.dModel, nTokens);
  const actStride = paddedLength(n);
  const { gate } = matrix;
  for (let i = begin; i < end; i++) {
    const slot = u32[slots / 4 + i]!;
    const up = rowSums(views, matrix, batch, slot, matrix.upOffsetBytes, gate ? 1 : 0, matrix.bias);
    const gated = gate && rowSums(views, matrix, batch, slot, gate.offsetBytes, 0, gate.bias);
    for (let t = 0; t < nTokens; t++) {
      const value = gated ? activateGated(gated[t]!, up[t]!, activation) : activate(up[t]!, activation);
      f32[act / 4 + t * actStride + i] = value;
    }
  }
  if (end === n) zeroPadding(f32, act, n, nTokens);
}

/** One row of a slot with every vector, and its bias. @param part Which of the slot's scales is the row's. */
function rowSums(
  views: ArenaViews,
  { dtype, base, strideBytes, scalesOffsetBytes, dModel }: SlotMatrix,
  batch: VectorBatch,
  slot: number,
  offsetBytes: number,
  part: number,
  biases: Ptr,
): Float32Array {
  const { f32 } = views;
  const record = base + slot * strideBytes;
  const row = new RowBuffer(views, dtype, dModel).at(record + offsetBytes);
  const scale = dtype === "int8" ? f32[(record + scalesOffsetBytes) / 4 + part]! : 1;
  const bias = biases ? f32[biases / 4 + slot]! : 0;
  return Float32Array.from({ length: batch.nTokens }, (_, t) => batch.product(row, t, scale) + bias);
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
  const part = matrix.gate ? 2 : 1;
  for (let i = 0; i < n; i++) {
    const record = matrix.base + u32[slots / 4 + i]! * matrix.strideBytes;
    const down = columns.at(record + matrix.downOffsetBytes + rowBytes(matrix.dtype, colBegin));
    const downScale = matrix.dtype === "int8" ? f32[(record + matrix.scalesOffsetBytes) / 4 + part]! : 1;
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
