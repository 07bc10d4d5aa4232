/**
 * Products of neurons' rows of any dtype: those that are blocks of 32 (records of q4) here, the others in linear.ts.
 *
 * Rows stand in slots, so the forms of block-product.ts, whose rows are neighbours, do not serve. Four rows at a time meet each vector; where four slots
 * follow each other, as in a layer that streams, and there are several vectors, rows are unpacked once for all of them. Bits are those of contract.ts in either form.
 *
 *   scratch:  vectors (block-vector.ts) | table, four outputs | sums, panel (block-batch.ts), as for linear
 */
import { Q4_0 as Q4_0_CODE } from "../../kernels/src/dtype-constants";
import { BATCH_COLS, BATCH_ROWS, SUMS_BYTES, multiplyPanel, unpackOf32 } from "./block-batch";
import { fourRowsOf32 } from "./block-rows";
import { TABLE_BYTES } from "./block-scales";
import { groupVector, groupedBytes } from "./block-vector";
import { Q4_0 } from "./blocks-of-32";
import { products } from "./linear";
import { rowPointer, touchFour } from "./row-product";
import { padded, prepareVectors } from "./vector";

/** Vectors from which on unpacking rows first pays. */
const LEAST_BATCH: usize = 4;
/** Vectors of one pass over the rows: they should stay in the second-level cache. Fewer than 32 would not pay for unpacking the rows again. */
const PASS_BYTES: usize = 512 * 1024;
const LEAST_PASS: usize = 32;
/** Four outputs, between table and panel. */
const OUTPUTS_BYTES: usize = 16;

/** Prepares vectors for {@link neuronProducts} and returns where they are. */
export function prepareForNeurons(scratch: usize, x: usize, dtype: i32, cols: usize, nTokens: usize): usize {
  if (dtype != Q4_0_CODE) return prepareVectors(scratch, x, dtype, cols, nTokens);
  const f = changetype<Q4_0>(0);
  const xStride = padded(cols) * 4, vStride = groupedBytes(cols);
  for (let t: usize = 0; t < nTokens; t++) {
    groupVector(scratch + t * vStride, x + t * xStride, cols, f.offset(), 0, f.natural());
  }
  return scratch;
}

/** out[t, i] = the row of slots[i] · x[t] for i in [begin, end); sums are still to be scaled (f16, int8). */
export function neuronProducts(
  dtype: i32, out: usize, outStride: usize, vectors: usize, nTokens: usize,
  base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): void {
  if (dtype == Q4_0_CODE) rowsOfSlots<Q4_0>(out, outStride, vectors, nTokens, base, stride, slots, begin, end, cols);
  else products(dtype, out, outStride, vectors, nTokens, base, stride, slots, begin, end, cols);
}

function rowsOfSlots<T>(
  out: usize, outStride: usize, vectors: usize, nTokens: usize,
  base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): void {
  const vStride = groupedBytes(cols), table = vectors + nTokens * vStride;
  if (nTokens >= LEAST_BATCH) {
    const batchEnd = begin + ((end - begin) & ~3);
    const perPass = max<usize>(LEAST_PASS, (PASS_BYTES / vStride) & ~1);
    for (let t: usize = 0; t < nTokens; t += perPass) {
      const many = min<usize>(perPass, nTokens - t);
      batchOf<T>(out + t * outStride, outStride, vectors + t * vStride, vStride, many, base, stride, slots, table, begin, batchEnd, cols);
    }
    begin = batchEnd;
  }
  fewOf<T>(out, outStride, vectors, vStride, nTokens, base, stride, slots, table, begin, end, cols);
}

/** Rows from distant parts of the range, as in row-product.ts; those that are left over in the end. */
function fewOf<T>(
  out: usize, outStride: usize, vectors: usize, vStride: usize, nTokens: usize,
  base: usize, stride: usize, slots: usize, table: usize, begin: usize, end: usize, cols: usize,
): void {
  const part = (end - begin) / 4, rest = begin + 4 * part;
  for (let i = begin; i < begin + part; i++) {
    const p0 = rowPointer(base, stride, slots, i), p1 = rowPointer(base, stride, slots, i + part);
    const p2 = rowPointer(base, stride, slots, i + 2 * part), p3 = rowPointer(base, stride, slots, i + 3 * part);
    touchFour(base, stride, slots, min<usize>(i + 1, begin + part - 1), part);
    for (let t: usize = 0; t < nTokens; t++) {
      const sums = fourRowsOf32<T>(vectors + t * vStride, table, p0, p1, p2, p3, cols);
      storeApart(out + t * outStride + 4 * i, 4 * part, sums);
    }
  }
  if (rest == end) return;
  const p0 = rowPointer(base, stride, slots, rest), p1 = rowPointer(base, stride, slots, min<usize>(rest + 1, end - 1));
  const p2 = rowPointer(base, stride, slots, end - 1);
  for (let t: usize = 0; t < nTokens; t++) {
    v128.store(table, fourRowsOf32<T>(vectors + t * vStride, table, p0, p1, p2, p2, cols), TABLE_BYTES);
    memory.copy(out + t * outStride + 4 * rest, table + TABLE_BYTES, 4 * (end - rest));
  }
}

/** Several vectors with rows [begin, end), a multiple of four. */
function batchOf<T>(
  out: usize, outStride: usize, vectors: usize, vStride: usize, nTokens: usize,
  base: usize, stride: usize, slots: usize, table: usize, begin: usize, end: usize, cols: usize,
): void {
  for (let i = begin; i < end; i += BATCH_ROWS) {
    const rows = min<usize>(BATCH_ROWS, end - i);
    if (areNeighbours(slots, i, rows)) {
      const first = rowPointer(base, stride, slots, i);
      unpackedRows<T>(out + 4 * i, outStride, vectors, vStride, nTokens, first, stride, table, rows, cols);
    } else {
      for (let r: usize = 0; r < rows; r += 4) {
        rowsInPlace<T>(out, outStride, vectors, vStride, nTokens, base, stride, slots, table, i + r, cols);
      }
    }
  }
}

/** Whether each slot follows the one before. */
function areNeighbours(slots: usize, begin: usize, count: usize): bool {
  const first = load<u32>(slots + 4 * begin);
  for (let i: usize = 1; i < count; i++) if (load<u32>(slots + 4 * (begin + i)) != first + <u32>i) return false;
  return true;
}

/** Rows `stride` apart from p on, a multiple of four, at most sixteen. */
function unpackedRows<T>(
  out: usize, outStride: usize, vectors: usize, vStride: usize, nTokens: usize,
  p: usize, stride: usize, table: usize, rows: usize, cols: usize,
): void {
  const f = changetype<T>(0);
  const sums = table + TABLE_BYTES + OUTPUTS_BYTES, panel = sums + SUMS_BYTES;
  memory.fill(sums, 0, SUMS_BYTES);
  for (let t: usize = 0; t < nTokens; t++) memory.fill(out + t * outStride, 0, 4 * rows);
  for (let k: usize = 0; k < cols; k += BATCH_COLS) {
    const width = min<usize>(BATCH_COLS, cols - k), at = p + (k / 32) * f.blockBytes();
    for (let r: usize = 0; r < rows; r += 4) unpackOf32<T>(panel + 4 * r, at + r * stride, stride, width);
    const from = vectors + groupedBytes(k);
    multiplyPanel(out, outStride, from, vStride, nTokens, panel, sums, rows, width, false, f.hasMinima() ? 1 : 0);
  }
}

/** Rows i to i + 3, wherever they are. */
function rowsInPlace<T>(
  out: usize, outStride: usize, vectors: usize, vStride: usize, nTokens: usize,
  base: usize, stride: usize, slots: usize, table: usize, i: usize, cols: usize,
): void {
  const p0 = rowPointer(base, stride, slots, i), p1 = rowPointer(base, stride, slots, i + 1);
  const p2 = rowPointer(base, stride, slots, i + 2), p3 = rowPointer(base, stride, slots, i + 3);
  for (let t: usize = 0; t < nTokens; t++) {
    v128.store(out + t * outStride + 4 * i, fourRowsOf32<T>(vectors + t * vStride, table, p0, p1, p2, p3, cols));
  }
}

/** The lanes, `gap` bytes apart. */
@inline
function storeApart(out: usize, gap: usize, lanes: v128): void {
  store<f32>(out, f32x4.extract_lane(lanes, 0));
  store<f32>(out + gap, f32x4.extract_lane(lanes, 1));
  store<f32>(out + 2 * gap, f32x4.extract_lane(lanes, 2));
  store<f32>(out + 3 * gap, f32x4.extract_lane(lanes, 3));
}
