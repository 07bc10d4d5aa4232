/**
 * The products of rows of plain elements with a batch of vectors: what `linear` and `ffnUp` share. block-product.ts has those of blocks.
 *
 * Summation order of this backend: one f32 accumulator from +0, k ascending, product and sum rounded separately
 * (`Math.fround`). int8: exact integer sum, then fl(fl(sum) · fl(xScale · rowScale)).
 */
import { type PlainDType, paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { ArenaViews } from "./arena-views.js";
import { ACTIVATION_MOST, quantise } from "./quantised-vector.js";
import { decodeRow } from "./row-decoder.js";

/** A batch of vectors, ready to be multiplied with rows of one dtype. */
export interface VectorBatch {
  readonly nTokens: number;
  /** Σ_k row[k] · x[t, k], times the scales. `row` is as {@link decodeRow} gives it. */
  product(row: Float32Array, t: number, rowScale: number): number;
}

/** @param x f32 `[nTokens, pad(cols)]`. */
export function prepareVectors(
  views: ArenaViews,
  dtype: PlainDType,
  x: Ptr,
  cols: number,
  nTokens: number,
): VectorBatch {
  const stride = paddedLength(cols);
  const vectors: Float32Array[] = [];
  for (let t = 0; t < nTokens; t++) {
    const begin = x / 4 + t * stride;
    vectors.push(views.f32.slice(begin, begin + cols));
  }
  if (dtype !== "int8") return { nTokens, product: (row, t) => dot(row, vectors[t]!) };
  const quantised = vectors.map((vector) => {
    const q = new Int16Array(cols);
    return { q, scale: quantise(q, vector, ACTIVATION_MOST) };
  });
  return { nTokens, product: (row, t, rowScale) => dotInt8(row, quantised[t]!, rowScale) };
}

function dot(row: Float32Array, x: Float32Array): number {
  let sum = 0;
  for (let k = 0; k < row.length; k++) sum = Math.fround(sum + Math.fround(row[k]! * x[k]!));
  return sum;
}

function dotInt8(row: Float32Array, x: { q: Int16Array; scale: number }, rowScale: number): number {
  let sum = 0;
  for (let k = 0; k < row.length; k++) sum += row[k]! * x.q[k]!;
  return Math.fround(Math.fround(sum) * Math.fround(x.scale * rowScale));
}

/** Row `index` at `ptr`, decoded into a buffer that the next call reuses. */
export class RowBuffer {
  readonly #row: Float32Array;
  constructor(
    readonly views: ArenaViews,
    readonly dtype: PlainDType,
    cols: number,
  ) {
    this.#row = new Float32Array(cols);
  }

  at(ptr: Ptr): Float32Array {
    decodeRow(this.dtype, this.views.u8, ptr, this.#row.length, this.#row);
    return this.#row;
  }
}
