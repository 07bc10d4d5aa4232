/**
 * Products of rows of blocks with several vectors.
 *
 * Sixteen rows are unpacked, 512 columns at a time, to i16 with their sub-blocks' scales multiplied in; every pair of vectors then meets
 * them from the first-level cache. A tile is four rows and two vectors. Sums wait in the output between stretches of columns: a block ends
 * where a stretch does, so they have the order of block-rows.ts, and a batch gives the bits of its vectors one by one.
 *
 *   panel:  for four rows, for each group of 32 columns:  D f32x4 | N f32x4 | two minima f32x4 | 4 x 4 x i16x8 | two products f32x4
 *
 * D and N stand in the last group of a block; of formats whose minima are added, N is negative. The four i16x8 of a row are in the order of q0 … q3 (block-vector.ts).
 */
import { evenBytes, oddBytes, sumEach } from "./block-bytes";
import { MINIMA_AT, SCALES_AT } from "./block-scales";
import { GROUP_BYTES } from "./block-vector";
import { addProduct } from "./element";

export const BATCH_ROWS: usize = 16;
export const BATCH_COLS: usize = 512;
const PANEL_GROUP_BYTES: usize = 352;
const WEIGHTS_AT: usize = 64;
const PRODUCTS_AT: usize = 320;

/** Bytes of four rows' panel. */
@inline
export function panelBytes(cols: usize): usize {
  return (cols / 32) * PANEL_GROUP_BYTES;
}

/** Four rows' blocks of 32, from p on, `stride` bytes apart. */
export function unpackOf32<T>(panel: usize, p: usize, stride: usize, cols: usize): void {
  const f = changetype<T>(0);
  for (const end = panel + panelBytes(cols); panel < end; panel += PANEL_GROUP_BYTES) {
    const p1 = p + stride, p2 = p1 + stride, p3 = p2 + stride;
    v128.store(panel, f.scales(p, p1, p2, p3));
    if (f.hasMinima()) v128.store(panel, f32x4.neg(f.minima(p, p1, p2, p3)), 16);
    for (let r: usize = 0; r < 4; r++) unpackRowOf32<T>(panel + WEIGHTS_AT + 16 * r, p + r * stride);
    p += f.blockBytes();
  }
}

@inline
function unpackRowOf32<T>(out: usize, p: usize): void {
  const f = changetype<T>(0);
  const offset = i16x8.splat(<i16>f.offset());
  const first = f.bytes(p, 0), second = f.bytes(p, 1);
  if (f.natural()) {
    v128.store(out, i16x8.extend_low_i8x16_s(first));
    v128.store(out, i16x8.extend_high_i8x16_s(first), 64);
    v128.store(out, i16x8.extend_low_i8x16_s(second), 128);
    v128.store(out, i16x8.extend_high_i8x16_s(second), 192);
  } else {
    v128.store(out, i16x8.sub(evenBytes(first, f.signed()), offset));
    v128.store(out, i16x8.sub(oddBytes(first, f.signed()), offset), 64);
    v128.store(out, i16x8.sub(evenBytes(second, f.signed()), offset), 128);
    v128.store(out, i16x8.sub(oddBytes(second, f.signed()), offset), 192);
  }
}

/** Four rows' blocks of 256, from p on, `stride` bytes apart. */
export function unpackOf256<T>(panel: usize, table: usize, p: usize, stride: usize, cols: usize): void {
  const f = changetype<T>(0);
  const end = panel + panelBytes(cols);
  while (panel < end) {
    f.scales(table, p, p + stride, p + 2 * stride, p + 3 * stride);
    let at = table;
    for (let stretch: usize = 0; stretch < f.stretches(); stretch++) {
      unpackSubBlock<T>(panel, at, p, stride, stretch, 0);
      panel += PANEL_GROUP_BYTES; at += 512 / f.shared();
      if (f.stretches() < 8) {
        unpackSubBlock<T>(panel, at, p, stride, stretch, 1);
        panel += PANEL_GROUP_BYTES; at += 512 / f.shared();
      }
      if (f.stretches() < 4) {
        unpackSubBlock<T>(panel, at, p, stride, stretch, 2);
        panel += PANEL_GROUP_BYTES; at += 512 / f.shared();
        unpackSubBlock<T>(panel, at, p, stride, stretch, 3);
        panel += PANEL_GROUP_BYTES; at += 512 / f.shared();
      }
    }
    v128.store(panel - PANEL_GROUP_BYTES, v128.load(table));
    if (f.hasMinima()) v128.store(panel - PANEL_GROUP_BYTES, v128.load(table, 16), 16);
    p += f.blockBytes();
  }
}

@inline
function unpackSubBlock<T>(
  panel: usize, at: usize, p: usize, stride: usize, stretch: usize, t: i32,
): void {
  const f = changetype<T>(0);
  if (f.hasMinima()) {
    v128.store(panel, v128.load(at, MINIMA_AT), 32);
    if (f.shared() == 16) v128.store(panel, v128.load(at, MINIMA_AT + 16), 48);
  }
  const high = f.high(stretch, t);
  for (let r: usize = 0; r < 4; r++) {
    unpackRowOf256<T>(panel + WEIGHTS_AT + 16 * r, at + 4 * r, p + r * stride, stretch, t, high);
  }
}

/** Scales lie in i32 lanes, and fit their lower halves. */
@inline
function unpackRowOf256<T>(out: usize, at: usize, p: usize, stretch: usize, t: i32, high: v128): void {
  const f = changetype<T>(0);
  const offset = i16x8.splat(<i16>f.offset());
  const first = v128.load16_splat(at, SCALES_AT);
  const second = f.shared() == 16 ? v128.load16_splat(at, SCALES_AT + 16) : first;
  const a = f.bytes(p, stretch, t, 0, high), b = f.bytes(p, stretch, t, 1, high);
  v128.store(out, i16x8.mul(i16x8.sub(evenBytes(a, f.signed()), offset), first));
  v128.store(out, i16x8.mul(i16x8.sub(oddBytes(a, f.signed()), offset), first), 64);
  v128.store(out, i16x8.mul(i16x8.sub(evenBytes(b, f.signed()), offset), second), 128);
  v128.store(out, i16x8.mul(i16x8.sub(oddBytes(b, f.signed()), offset), second), 192);
}

/**
 * s · Σ w · q of four rows and two vectors, for each group: into the panel, where `addProducts…` finds them.
 *
 * Branches that are never taken end blocks, and sums that are used after the loop are computed where they stand: see row-product.ts.
 */
function multiply4x2(x: usize, x1: usize, panel: usize, cols: usize): void {
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  const end = panel + panelBytes(cols);
  for (; panel < end; panel += PANEL_GROUP_BYTES) {
    let u = v128.load(x, 16), v = v128.load(x1, 16);
    let w = v128.load(panel, WEIGHTS_AT);
    a0 = i32x4.dot_i16x8_s(w, u); b0 = i32x4.dot_i16x8_s(w, v);
    w = v128.load(panel, WEIGHTS_AT + 16);
    a1 = i32x4.dot_i16x8_s(w, u); b1 = i32x4.dot_i16x8_s(w, v);
    w = v128.load(panel, WEIGHTS_AT + 32);
    a2 = i32x4.dot_i16x8_s(w, u); b2 = i32x4.dot_i16x8_s(w, v);
    w = v128.load(panel, WEIGHTS_AT + 48);
    a3 = i32x4.dot_i16x8_s(w, u); b3 = i32x4.dot_i16x8_s(w, v);
    if (!panel) break;
    u = v128.load(x, 32); v = v128.load(x1, 32);
    w = v128.load(panel, WEIGHTS_AT + 64);
    a0 = addDot(a0, w, u); b0 = addDot(b0, w, v);
    w = v128.load(panel, WEIGHTS_AT + 80);
    a1 = addDot(a1, w, u); b1 = addDot(b1, w, v);
    w = v128.load(panel, WEIGHTS_AT + 96);
    a2 = addDot(a2, w, u); b2 = addDot(b2, w, v);
    w = v128.load(panel, WEIGHTS_AT + 112);
    a3 = addDot(a3, w, u); b3 = addDot(b3, w, v);
    if (!x) break;
    u = v128.load(x, 48); v = v128.load(x1, 48);
    w = v128.load(panel, WEIGHTS_AT + 128);
    a0 = addDot(a0, w, u); b0 = addDot(b0, w, v);
    w = v128.load(panel, WEIGHTS_AT + 144);
    a1 = addDot(a1, w, u); b1 = addDot(b1, w, v);
    w = v128.load(panel, WEIGHTS_AT + 160);
    a2 = addDot(a2, w, u); b2 = addDot(b2, w, v);
    w = v128.load(panel, WEIGHTS_AT + 176);
    a3 = addDot(a3, w, u); b3 = addDot(b3, w, v);
    if (!x1) break;
    u = v128.load(x, 64); v = v128.load(x1, 64);
    w = v128.load(panel, WEIGHTS_AT + 192);
    a0 = addDot(a0, w, u); b0 = addDot(b0, w, v);
    w = v128.load(panel, WEIGHTS_AT + 208);
    a1 = addDot(a1, w, u); b1 = addDot(b1, w, v);
    w = v128.load(panel, WEIGHTS_AT + 224);
    a2 = addDot(a2, w, u); b2 = addDot(b2, w, v);
    w = v128.load(panel, WEIGHTS_AT + 240);
    a3 = addDot(a3, w, u); b3 = addDot(b3, w, v);
    const product = f32x4.mul(v128.load32_splat(x), f32x4.convert_i32x4_s(sumEach(a0, a1, a2, a3)));
    const product1 = f32x4.mul(v128.load32_splat(x1), f32x4.convert_i32x4_s(sumEach(b0, b1, b2, b3)));
    v128.store(panel, product, PRODUCTS_AT);
    v128.store(panel, product1, PRODUCTS_AT + 16);
    x += GROUP_BYTES; x1 += GROUP_BYTES;
  }
  if (panel != end) {
    v128.store(panel, v128.or(v128.or(v128.or(a0, a1), v128.or(a2, a3)), v128.or(v128.or(b0, b1), v128.or(b2, b3))));
  }
}

/** sum + the pairwise products of eight i16. */
@inline
function addDot(sum: v128, a: v128, b: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(a, b));
}

/** The products, scaled, added to four outputs of each of two vectors, which may be one; blocks of 32. */
function addProductsOf32(
  out: usize, out1: usize, x: usize, x1: usize, panel: usize, cols: usize, minima: i32,
): void {
  let sum = v128.load(out), sum1 = v128.load(out1);
  for (const end = panel + panelBytes(cols); panel < end; panel += PANEL_GROUP_BYTES) {
    const scale = v128.load(panel);
    let product = f32x4.mul(scale, v128.load(panel, PRODUCTS_AT));
    let product1 = f32x4.mul(scale, v128.load(panel, PRODUCTS_AT + 16));
    if (minima) {
      const minScale = v128.load(panel, 16);
      product = f32x4.sub(product, f32x4.mul(minScale, v128.load32_splat(x, 12)));
      product1 = f32x4.sub(product1, f32x4.mul(minScale, v128.load32_splat(x1, 12)));
      x += GROUP_BYTES; x1 += GROUP_BYTES;
    }
    sum = f32x4.add(sum, product);
    sum1 = f32x4.add(sum1, product1);
  }
  v128.store(out, sum);
  v128.store(out1, sum1);
}

/** Blocks of 256. `minima` 0: none; 1: one for 32 elements; 2: one for 16. */
function addProductsOf256(
  out: usize, out1: usize, x: usize, x1: usize, panel: usize, cols: usize, minima: i32,
): void {
  let sum = v128.load(out), sum1 = v128.load(out1);
  const end = panel + panelBytes(cols);
  while (panel < end) {
    let product = f32x4.splat(0), product1 = product, below = product, below1 = product;
    for (const blockEnd = panel + 8 * PANEL_GROUP_BYTES; panel < blockEnd; panel += PANEL_GROUP_BYTES) {
      product = f32x4.add(product, v128.load(panel, PRODUCTS_AT));
      product1 = f32x4.add(product1, v128.load(panel, PRODUCTS_AT + 16));
      if (minima == 1) {
        const m = v128.load(panel, 32);
        below = addProduct(below, m, v128.load32_splat(x, 12));
        below1 = addProduct(below1, m, v128.load32_splat(x1, 12));
      } else if (minima) {
        const m = v128.load(panel, 32), n = v128.load(panel, 48);
        below = addProduct(addProduct(below, m, v128.load32_splat(x, 4)), n, v128.load32_splat(x, 8));
        below1 = addProduct(addProduct(below1, m, v128.load32_splat(x1, 4)), n, v128.load32_splat(x1, 8));
      }
      x += GROUP_BYTES; x1 += GROUP_BYTES;
    }
    const scale = v128.load(panel - PANEL_GROUP_BYTES);
    product = f32x4.mul(scale, product);
    product1 = f32x4.mul(scale, product1);
    if (minima) {
      const minScale = v128.load(panel - PANEL_GROUP_BYTES, 16);
      product = f32x4.sub(product, f32x4.mul(minScale, below));
      product1 = f32x4.sub(product1, f32x4.mul(minScale, below1));
    }
    sum = f32x4.add(sum, product);
    sum1 = f32x4.add(sum1, product1);
  }
  v128.store(out, sum);
  v128.store(out1, sum1);
}

/**
 * out[t, 0 … 4 · quads − 1] += panel rows · x[t], over `cols` columns.
 *
 * @param panel   Of four rows each, `panelBytes(cols)` apart.
 * @param x       Of the columns, `xStride` bytes apart.
 * @param wide    Blocks of 256.
 */
export function multiplyPanel(
  out: usize, outStride: usize, x: usize, xStride: usize, nTokens: usize, panel: usize, quads: usize, cols: usize,
  wide: bool, minima: i32,
): void {
  for (let t: usize = 0; t < nTokens; t += 2) {
    const at = out + t * outStride, from = x + t * xStride;
    const odd = t + 1 == nTokens;
    const at1 = odd ? at : at + outStride, from1 = odd ? from : from + xStride;
    for (let i: usize = 0; i < quads; i++) {
      const o = at + 16 * i, o1 = at1 + 16 * i, p = panel + i * panelBytes(cols);
      multiply4x2(from, from1, p, cols);
      if (wide) addProductsOf256(o, o1, from, from1, p, cols, minima);
      else addProductsOf32(o, o1, from, from1, p, cols, minima);
    }
  }
}
