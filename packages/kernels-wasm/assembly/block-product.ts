/**
 * `linear` where rows are blocks: chooses the format and the form. In the module with relaxed SIMD vectors become bytes (byte-vector.ts), in the other one
 * integers of 15 bits (block-vector.ts); the rest is the same.
 *
 *   scratch:  vectors (block-vector.ts) | table (block-scales.ts), four outputs | panel (block-batch.ts)
 */
import {
  IQ4_NL as IQ4_NL_CODE, IQ4_XS as IQ4_XS_CODE, MXFP4 as MXFP4_CODE, Q2_K as Q2_K_CODE, Q3_K as Q3_K_CODE,
  Q4_0 as Q4_0_CODE, Q4_1 as Q4_1_CODE, Q4_K as Q4_K_CODE, Q5_0 as Q5_0_CODE, Q5_1 as Q5_1_CODE,
  Q5_K as Q5_K_CODE, Q6_K as Q6_K_CODE, Q8_0 as Q8_0_CODE,
} from "../../kernels/src/dtype-constants";
import { BATCH_COLS, BATCH_ROWS, SUMS_BYTES, multiplyPanel, unpackOf256, unpackOf32 } from "./block-batch";
import { fourRowsOf256, fourRowsOf32 } from "./block-rows";
import { TABLE_BYTES } from "./block-scales";
import { groupVector, groupedBytes } from "./block-vector";
import { IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K } from "./blocks-of-256";
import { IQ4_NL, MXFP4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 } from "./blocks-of-32";
import { BYTE_SUMS_BYTES, kindOf, multiplyBytePanel, unpackBytesOf256, unpackBytesOf32 } from "./byte-batch";
import { fourByteRowsOf256, fourByteRowsOf32, isSplit } from "./byte-rows";
import { groupBytes } from "./byte-vector";

/** Vectors from which on unpacking rows first pays. */
const LEAST_BATCH: usize = 4;
/** Vectors of one pass over the rows: they should stay in the second-level cache. */
const PASS_BYTES: usize = 512 * 1024;
/** Fewer would not pay for unpacking the rows again. Even. */
const LEAST_PASS: usize = 32;
/** Four outputs. */
const OUTPUTS_BYTES: usize = 16;

@inline
export function isBlocks(dtype: i32): bool {
  return dtype >= Q4_0_CODE && dtype <= MXFP4_CODE;
}

/** Products without bias of rows [begin, end), `nTokens` vectors of `cols` elements at x. */
export function blockProducts(
  dtype: i32, out: usize, outStride: usize, x: usize, xStride: usize, nTokens: usize,
  base: usize, scratch: usize, begin: usize, end: usize, cols: usize,
): void {
  if (dtype == Q4_0_CODE) productsOf<Q4_0>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == Q4_1_CODE) productsOf<Q4_1>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == Q5_0_CODE) productsOf<Q5_0>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == Q5_1_CODE) productsOf<Q5_1>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == Q8_0_CODE) productsOf<Q8_0>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == IQ4_NL_CODE) productsOf<IQ4_NL>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == MXFP4_CODE) productsOf<MXFP4>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == Q2_K_CODE) productsOf<Q2_K>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == Q3_K_CODE) productsOf<Q3_K>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == Q4_K_CODE) productsOf<Q4_K>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == Q5_K_CODE) productsOf<Q5_K>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == Q6_K_CODE) productsOf<Q6_K>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else if (dtype == IQ4_XS_CODE) productsOf<IQ4_XS>(out, outStride, x, xStride, nTokens, base, scratch, begin, end, cols);
  else unreachable();
}

function productsOf<T>(
  out: usize, outStride: usize, x: usize, xStride: usize, nTokens: usize,
  base: usize, scratch: usize, begin: usize, end: usize, cols: usize,
): void {
  const vStride = groupedBytes(cols), table = scratch + nTokens * vStride;
  for (let t: usize = 0; t < nTokens; t++) prepareVector<T>(scratch + t * vStride, x + t * xStride, cols);
  if (nTokens >= LEAST_BATCH) {
    const batchEnd = begin + ((end - begin) & ~3);
    const perPass = max<usize>(LEAST_PASS, (PASS_BYTES / vStride) & ~1);
    for (let t: usize = 0; t < nTokens; t += perPass) {
      const many = min<usize>(perPass, nTokens - t);
      batchOf<T>(out + t * outStride, outStride, scratch + t * vStride, vStride, many, base, table, begin, batchEnd, cols);
    }
    begin = batchEnd;
  }
  for (let t: usize = 0; t < nTokens; t++) {
    rowsOf<T>(out + t * outStride, scratch + t * vStride, base, table, begin, end, cols);
  }
}

/** One vector with rows [begin, end). */
function rowsOf<T>(out: usize, v: usize, base: usize, table: usize, begin: usize, end: usize, cols: usize): void {
  const stride = rowBytes<T>(cols), part = (end - begin) / 4, gap = part * stride;
  const rest = begin + 4 * part;
  for (let i = begin; i < begin + part; i++) {
    const p = base + i * stride;
    storeApart(out + 4 * i, 4 * part, fourRows<T>(v, table, p, p + gap, p + 2 * gap, p + 3 * gap, cols));
  }
  if (rest < end) {
    const p = base + rest * stride, p1 = base + min(rest + 1, end - 1) * stride, p2 = base + (end - 1) * stride;
    v128.store(table, fourRows<T>(v, table, p, p1, p2, p2, cols), TABLE_BYTES);
    memory.copy(out + 4 * rest, table + TABLE_BYTES, 4 * (end - rest));
  }
}

/** Several vectors with rows [begin, end), a multiple of four. */
function batchOf<T>(
  out: usize, outStride: usize, vectors: usize, vStride: usize, nTokens: usize,
  base: usize, table: usize, begin: usize, end: usize, cols: usize,
): void {
  const sumsBytes = ASC_FEATURE_RELAXED_SIMD ? BYTE_SUMS_BYTES : SUMS_BYTES;
  const sums = table + TABLE_BYTES + OUTPUTS_BYTES, panel = sums + sumsBytes, stride = rowBytes<T>(cols);
  memory.fill(sums, 0, sumsBytes);
  for (let i = begin; i < end; i += BATCH_ROWS) {
    const rows = min<usize>(BATCH_ROWS, end - i), at = out + 4 * i;
    clearOutputs(at, outStride, nTokens, rows);
    for (let k: usize = 0; k < cols; k += BATCH_COLS) {
      const width = min<usize>(BATCH_COLS, cols - k), from = vectors + groupedBytes(k);
      for (let r: usize = 0; r < rows; r += 4) {
        unpack<T>(panel + 4 * r, table, base + (i + r) * stride + rowBytes<T>(k), stride, width);
      }
      multiplyUnpacked<T>(at, outStride, from, vStride, nTokens, panel, sums, rows, width);
    }
  }
}

// Where the two kinds of formats differ: only blocks of 256 have stretches.

@inline
function rowBytes<T>(cols: usize): usize {
  const f = changetype<T>(0);
  return (isDefined(f.stretches) ? cols / 256 : cols / 32) * f.blockBytes();
}

@inline
function prepareVector<T>(out: usize, x: usize, cols: usize): void {
  const f = changetype<T>(0);
  let halves = 0;
  if (isDefined(f.stretches)) halves = f.shared() == 32 ? 0 : f.hasMinima() ? 2 : 1;
  if (ASC_FEATURE_RELAXED_SIMD) groupBytes(out, x, cols, isSplit<T>() ? 0 : f.offset(), halves, isSplit<T>());
  else groupVector(out, x, cols, f.offset(), halves, isDefined(f.stretches) ? false : f.natural());
}

/** A lane for each row. */
function fourRows<T>(v: usize, table: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize): v128 {
  const f = changetype<T>(0);
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (isDefined(f.stretches)) return fourByteRowsOf256<T>(v, table, p0, p1, p2, p3, cols);
    else return fourByteRowsOf32<T>(v, p0, p1, p2, p3, cols);
  } else {
    if (isDefined(f.stretches)) return fourRowsOf256<T>(v, table, p0, p1, p2, p3, cols);
    else return fourRowsOf32<T>(v, table, p0, p1, p2, p3, cols);
  }
}

@inline
function unpack<T>(panel: usize, table: usize, p: usize, stride: usize, cols: usize): void {
  const f = changetype<T>(0);
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (isDefined(f.stretches)) unpackBytesOf256<T>(panel, table, p, stride, cols);
    else unpackBytesOf32<T>(panel, p, stride, cols);
  } else {
    if (isDefined(f.stretches)) unpackOf256<T>(panel, table, p, stride, cols);
    else unpackOf32<T>(panel, p, stride, cols);
  }
}

@inline
function multiplyUnpacked<T>(
  out: usize, outStride: usize, x: usize, xStride: usize, nTokens: usize, panel: usize, sums: usize, rows: usize,
  cols: usize,
): void {
  const f = changetype<T>(0);
  if (ASC_FEATURE_RELAXED_SIMD) {
    multiplyBytePanel(out, outStride, x, xStride, nTokens, panel, sums, rows, cols, kindOf<T>());
  } else if (isDefined(f.stretches)) {
    const minima = f.hasMinima() ? 32 / f.shared() : 0;
    multiplyPanel(out, outStride, x, xStride, nTokens, panel, sums, rows, cols, true, minima);
  } else {
    multiplyPanel(out, outStride, x, xStride, nTokens, panel, sums, rows, cols, false, f.hasMinima() ? 1 : 0);
  }
}

function clearOutputs(out: usize, outStride: usize, nTokens: usize, rows: usize): void {
  for (let t: usize = 0; t < nTokens; t++) memory.fill(out + t * outStride, 0, 4 * rows);
}

/** The lanes, `gap` bytes apart. */
@inline
function storeApart(out: usize, gap: usize, sums: v128): void {
  v128.store32_lane(out, sums, 0);
  v128.store32_lane(out + gap, sums, 1);
  v128.store32_lane(out + 2 * gap, sums, 2);
  v128.store32_lane(out + 3 * gap, sums, 3);
}
