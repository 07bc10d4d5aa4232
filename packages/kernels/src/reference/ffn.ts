/** `ffnUp` and `ffnDown`: neurons as they lie in cache slots. */
import {
  type ActivationFunction,
  assertActivation,
  blocksOf,
  isPlainDType,
  paddedLength,
  rowBytes,
} from "@flashwick/core";
import type { Ptr } from "../arena.js";
import { gateRowOf, type SlotMatrix } from "../contract.js";
import { activate, activateGated } from "./activation.js";
import type { ArenaViews } from "./arena-views.js";
import { Block } from "./block-format.js";
import { blockProducts, groupVectors, VECTOR_MOST } from "./block-product.js";
import { zeroPadding } from "./linear.js";
import { prepareVectors, RowBuffer } from "./row-product.js";

/** Products of the row at a pointer with each vector of a batch, times the row's scale if it has one. */
type RowProducts = (row: Ptr, scale: number) => Float32Array;

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
  const products = productsWith(views, matrix, x, nTokens);
  const actStride = paddedLength(n);
  const { gate } = matrix;
  assertActivation(activation, gate !== null);
  const upScale = gateRowOf(matrix) ? 1 : 0;
  for (let i = begin; i < end; i++) {
    const slot = u32[slots / 4 + i]!;
    const up = rowSums(views, matrix, products, slot, matrix.upOffsetBytes, upScale, matrix.bias);
    const gated = gateSums(views, matrix, products, slot, (t) => f32[act / 4 + t * actStride + i]!);
    for (let t = 0; t < nTokens; t++) {
      const value = gated ? activateGated(gated(t), up[t]!, activation) : activate(up[t]!, activation);
      f32[act / 4 + t * actStride + i] = value;
    }
  }
  if (end === n) zeroPadding(f32, act, n, nTokens);
}

function productsWith(views: ArenaViews, { dtype, dModel }: SlotMatrix, x: Ptr, nTokens: number): RowProducts {
  if (isPlainDType(dtype)) {
    const batch = prepareVectors(views, dtype, x, dModel, nTokens);
    const buffer = new RowBuffer(views, dtype, dModel);
    return (ptr, scale) => {
      const row = buffer.at(ptr);
      return Float32Array.from({ length: nTokens }, (_, t) => batch.product(row, t, scale));
    };
  }
  const vectors = groupVectors(views, x, dModel, nTokens, VECTOR_MOST);
  return (ptr) => {
    const sums = new Float32Array(nTokens);
    blockProducts(sums, blocksOf(dtype)!, views.u8, ptr, vectors);
    return sums;
  };
}

/** One row of a slot with every vector, and its bias. @param part Which of the slot's scales is the row's. */
function rowSums(
  views: ArenaViews,
  matrix: SlotMatrix,
  products: RowProducts,
  slot: number,
  offsetBytes: number,
  part: number,
  biases: Ptr,
): Float32Array {
  const record = matrix.base + slot * matrix.strideBytes;
  const bias = biases ? views.f32[biases / 4 + slot]! : 0;
  return products(record + offsetBytes, scaleOf(views, matrix, record, part)).map((sum) => sum + bias);
}

/** The sum of a neuron's gate with each vector; null of neurons without one. @param given What it is where slots have no gate rows. */
function gateSums(
  views: ArenaViews,
  matrix: SlotMatrix,
  products: RowProducts,
  slot: number,
  given: (t: number) => number,
): ((t: number) => number) | null {
  if (matrix.gate === null) return null;
  if (matrix.gate === "given") return given;
  const sums = rowSums(views, matrix, products, slot, matrix.gate.offsetBytes, 0, matrix.gate.bias);
  return (t) => sums[t]!;
}

/** Of a part of the record; 1 where there is none. */
function scaleOf({ f32 }: ArenaViews, { dtype, scalesOffsetBytes }: SlotMatrix, record: Ptr, part: number): number {
  return dtype === "int8" ? f32[(record + scalesOffsetBytes) / 4 + part]! : 1;
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
  const column = columnOf(views, matrix, colBegin, colEnd);
  for (let i = 0; i < n; i++) {
    const add = column(matrix.base + u32[slots / 4 + i]! * matrix.strideBytes);
    for (let t = 0; t < nTokens; t++) {
      const value = f32[act / 4 + t * actStride + i]!;
      if (value !== 0) add(out / 4 + t * outStride + colBegin, value);
    }
  }
}

/** Adds a neuron's down column, times its activation, to f32[at …]. */
type AddColumn = (at: number, act: number) => void;

function columnOf(views: ArenaViews, matrix: SlotMatrix, colBegin: number, colEnd: number): (record: Ptr) => AddColumn {
  const { dtype, downOffsetBytes } = matrix;
  if (!isPlainDType(dtype)) return (record) => blockColumn(views, record + downOffsetBytes, colBegin, colEnd);
  const columns = new RowBuffer(views, dtype, colEnd - colBegin);
  const part = gateRowOf(matrix) ? 2 : 1;
  return (record) => {
    const down = columns.at(record + downOffsetBytes + rowBytes(dtype, colBegin));
    const scale = scaleOf(views, matrix, record, part);
    return (at, act) => addScaled(views.f32, at, down, Math.fround(act * scale));
  };
}

/** f32[at + j] += factor · column[j]. */
function addScaled(f32: Float32Array, at: number, column: ArrayLike<number>, factor: number): void {
  for (let j = 0; j < column.length; j++) f32[at + j] = f32[at + j]! + Math.fround(factor * column[j]!);
}

/** A column of Q4_0's blocks; a range may begin and end in the middle of one. */
function blockColumn({ f32, u8 }: ArenaViews, column: Ptr, colBegin: number, colEnd: number): AddColumn {
  const block = new Block();
  return (at, act) => {
    for (let begin = colBegin; begin < colEnd; begin = 32 * (Math.floor(begin / 32) + 1)) {
      const first = 32 * Math.floor(begin / 32);
      block.read("q4_0", u8, column + rowBytes("q4_0", first));
      const weights = block.weights.subarray(begin - first, Math.min(32, colEnd - first));
      addScaled(f32, at + begin - colBegin, weights, Math.fround(act * block.scale));
    }
  };
}
