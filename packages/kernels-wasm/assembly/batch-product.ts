/**
 * Products of rows with a batch of vectors, as in prefill.
 *
 * The rows of a panel are widened once, to f32 or i16, and stay in the second-level cache while every block of four vectors
 * meets them; of both, as many columns at a time as the first-level cache holds. A tile is two rows and four vectors: eight
 * accumulators, which lie in memory between blocks of columns, with all of their lanes.
 *
 *   panel:     for each block of columns, for each pair of rows: 16 bytes of one row, 16 bytes of the other, and so on
 *   workspace: sums, f32x4 or i32x4 [16 rows, 4 vectors]; then the panel
 *
 * Order of summation: that of row-product.ts for each output element, so a batch gives the bits of its vectors one by one.
 *
 * Vectors come in blocks of four (vector.ts), 16 bytes of each in turn, the last block filled up with zeros: one pointer walks
 * over four vectors. Six loads for sixteen operations, and no more a step: TurboFan (V8 11) moves every load of a loop body
 * to its front, and more than these do not fit the sixteen registers of x86.
 */
import { addProduct, first8, loadEight, second8, sumLanes, weightLift, weightMask } from "./element";
import { rowPointer } from "./row-product";
import { storeSum } from "./row-product-int8";

/** Rows widened at a time: 256 KiB of f32 at 4096 columns. Even. */
const PANEL_ROWS: usize = 16;
/** Columns of a block: 16 KiB of four f32 vectors, 8 KiB of two rows. */
const BLOCK_COLS: usize = 1024;
/** Accumulators of four vectors: one v128 for each row. */
const SUMS_BYTES: usize = 16 * 4 * PANEL_ROWS;

/** Bytes of an element that a tile multiplies: f32, or i16 for int8. */
@inline
function wideBytes<T>(): usize {
  return sizeof<T>() == 1 ? 2 : 4;
}

/**
 * out[t, i] = row(i) · vector(t) for i in [begin, end).
 *
 * @param vectors   Blocks of four, `4 · vStride` bytes apart.
 * @param workspace The sums, then a panel of widened rows: SUMS_BYTES + 4 · cols · PANEL_ROWS bytes, 16-byte aligned.
 * @param cols      A multiple of 16.
 */
export function rowProductsBatch<T>(
  out: usize, outStride: usize, vectors: usize, vStride: usize, nTokens: usize, workspace: usize,
  base: usize, stride: usize, slots: usize, begin: usize, end: usize, cols: usize,
): void {
  const panel = workspace + SUMS_BYTES;
  for (let i = begin; i < end; i += PANEL_ROWS) {
    const rows = min<usize>(PANEL_ROWS, end - i);
    for (let r: usize = 0; r < rows; r++) widenRow<T>(panel, r, rowPointer(base, stride, slots, i + r), cols);
    for (let t: usize = 0; t < nTokens; t += 4) {
      multiply<T>(workspace, vectors + t * vStride, panel, rows, cols * wideBytes<T>());
      storeSums<T>(out + t * outStride + 4 * i, outStride, workspace, rows, min<usize>(4, nTokens - t));
    }
  }
}

/** Row r of the panel, from p. */
function widenRow<T>(panel: usize, r: usize, p: usize, cols: usize): void {
  for (let k: usize = 0; k < cols; k += BLOCK_COLS) {
    const block = min<usize>(BLOCK_COLS, cols - k);
    const at = panel + (PANEL_ROWS * k + (r & ~1) * block) * wideBytes<T>() + 16 * (r & 1);
    widen<T>(at, p + k * sizeof<T>(), block);
  }
}

/** The panel with four vectors. Of a last pair with one row only, the other's sums are made of what lay there, and never read. */
function multiply<T>(sums: usize, vectors: usize, panel: usize, rows: usize, rowBytes: usize): void {
  const blockBytes = BLOCK_COLS * wideBytes<T>();
  for (let p = sums; p < sums + SUMS_BYTES; p += 16) v128.store(p, i32x4.splat(0));
  for (let k: usize = 0; k < rowBytes; k += blockBytes) {
    const block = min<usize>(blockBytes, rowBytes - k);
    for (let r: usize = 0; r < rows; r += 2) {
      const p = panel + PANEL_ROWS * k + r * block;
      if (sizeof<T>() == 1) tileInt(sums + 64 * r, vectors + 4 * k, p, block);
      else tileFloat(sums + 64 * r, vectors + 4 * k, p, block);
    }
  }
}

/** A block of one row, sixteen bytes every 32: as f32 in the order of first8/second8, int8 as i16. */
function widen<T>(out: usize, p: usize, cols: usize): void {
  const mask = weightMask<T>(), lift = weightLift<T>();
  for (const end = p + cols * sizeof<T>(); p < end; p += 8 * sizeof<T>()) {
    if (sizeof<T>() == 1) {
      v128.store(out, loadEight<T>(p));
      out += 32;
    } else {
      const w = v128.load(p);
      v128.store(out, first8<T>(w, mask, lift));
      v128.store(out, second8<T>(w, p, mask), 32);
      out += 64;
    }
  }
}

/** Two rows, four vectors; `rowBytes` of each. Sums: those of the first row, then those of the second. */
function tileFloat(sums: usize, x: usize, p: usize, rowBytes: usize): void {
  let a0 = v128.load(sums), a1 = v128.load(sums, 16), a2 = v128.load(sums, 32), a3 = v128.load(sums, 48);
  let b0 = v128.load(sums, 64), b1 = v128.load(sums, 80), b2 = v128.load(sums, 96), b3 = v128.load(sums, 112);
  for (const end = x + 4 * rowBytes; x != end; x += 64) {
    const w = v128.load(p), z = v128.load(p, 16);
    let u = v128.load(x);
    a0 = addProduct(a0, w, u); b0 = addProduct(b0, z, u);
    u = v128.load(x, 16);
    a1 = addProduct(a1, w, u); b1 = addProduct(b1, z, u);
    u = v128.load(x, 32);
    a2 = addProduct(a2, w, u); b2 = addProduct(b2, z, u);
    u = v128.load(x, 48);
    a3 = addProduct(a3, w, u); b3 = addProduct(b3, z, u);
    p += 32;
  }
  v128.store(sums, a0); v128.store(sums, a1, 16); v128.store(sums, a2, 32); v128.store(sums, a3, 48);
  v128.store(sums, b0, 64); v128.store(sums, b1, 80); v128.store(sums, b2, 96); v128.store(sums, b3, 112);
}

/** sum + the pairwise products of eight int16 with eight int16. */
@inline
function addDot(sum: v128, a: v128, b: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(a, b));
}

function tileInt(sums: usize, x: usize, p: usize, rowBytes: usize): void {
  let a0 = v128.load(sums), a1 = v128.load(sums, 16), a2 = v128.load(sums, 32), a3 = v128.load(sums, 48);
  let b0 = v128.load(sums, 64), b1 = v128.load(sums, 80), b2 = v128.load(sums, 96), b3 = v128.load(sums, 112);
  for (const end = x + 4 * rowBytes; x != end; x += 64) {
    const w = v128.load(p), z = v128.load(p, 16);
    let u = v128.load(x);
    a0 = addDot(a0, w, u); b0 = addDot(b0, z, u);
    u = v128.load(x, 16);
    a1 = addDot(a1, w, u); b1 = addDot(b1, z, u);
    u = v128.load(x, 32);
    a2 = addDot(a2, w, u); b2 = addDot(b2, z, u);
    u = v128.load(x, 48);
    a3 = addDot(a3, w, u); b3 = addDot(b3, z, u);
    p += 32;
  }
  v128.store(sums, a0); v128.store(sums, a1, 16); v128.store(sums, a2, 32); v128.store(sums, a3, 48);
  v128.store(sums, b0, 64); v128.store(sums, b1, 80); v128.store(sums, b2, 96); v128.store(sums, b3, 112);
}

/** The panel's outputs of up to four vectors. */
function storeSums<T>(out: usize, outStride: usize, sums: usize, rows: usize, nTokens: usize): void {
  for (let t: usize = 0; t < nTokens; t++) {
    for (let r: usize = 0; r < rows; r++) {
      const p = out + t * outStride + 4 * r;
      const sum = v128.load(sums + 64 * r + 16 * t);
      if (sizeof<T>() == 1) storeSum(p, sum);
      else store<f32>(p, sumLanes(sum));
    }
  }
}
