/**
 * Keys and values in pages, as core's kv-page.ts lays them out, and `storeKv`: those of new positions, in the cache's own dtype. Halves saturate at ±65504:
 * cached values stay finite.
 */
import { F16, F32, INT8 } from "./element";
import { encodeHalf4, storeHalf4 } from "./float16";
import { padded } from "./vector";

const HALF_MOST: f32 = 65504;
const INT8_MOST: f32 = 127;

/** KV_PAGE_TOKENS of core. */
export const PAGE_TOKENS: usize = 16;

/** Where the page of position j begins. */
@inline
export function pageAt(pages: usize, j: usize): usize {
  return load<u32>(pages + 4 * (j / PAGE_TOKENS));
}

/**
 * Where row j is: `rowBytes` long, in what begins at `offset` in every page. The rows of a page follow one another, so groups of 2, 4, 8 or 16, aligned to
 * as many, are looked up once.
 */
@inline
export function rowAt(pages: usize, offset: usize, j: usize, rowBytes: usize): usize {
  return pageAt(pages, j) + offset + (j % PAGE_TOKENS) * rowBytes;
}

export function storeKv(
  dtype: i32, pages: usize, offset: usize, nHeads: usize, headDim: usize, k: usize, v: usize, position: usize,
  nTokens: usize,
): void {
  const stride = padded(nHeads * headDim) * 4;
  // Values follow the keys, and value scales the key scales, in the same order.
  const valueRow = nHeads * PAGE_TOKENS;
  for (let t: usize = 0; t < nTokens; t++) {
    const part = pageAt(pages, position + t) + offset;
    for (let head: usize = 0; head < nHeads; head++) {
      const source = t * stride + 4 * head * headDim;
      const row = head * PAGE_TOKENS + (position + t) % PAGE_TOKENS;
      storeVector(dtype, part, 2 * valueRow, row, headDim, k + source);
      storeVector(dtype, part, 2 * valueRow, valueRow + row, headDim, v + source);
    }
  }
}

/** Row `row` of a part that has `rows` of keys and values. */
function storeVector(dtype: i32, part: usize, rows: usize, row: usize, headDim: usize, x: usize): void {
  if (dtype == F32) memory.copy(part + 4 * row * headDim, x, 4 * headDim);
  else if (dtype == F16) storeHalves(part + 2 * row * headDim, x, headDim);
  else if (dtype == INT8) store<f32>(part + rows * headDim + 4 * row, storeBytes(part + row * headDim, x, headDim));
  else unreachable();
}

function storeHalves(out: usize, x: usize, count: usize): void {
  const high = f32x4.splat(HALF_MOST), low = f32x4.splat(-HALF_MOST);
  const bulkEnd = x + 4 * (count & ~3);
  const end = x + 4 * count;
  for (; x < bulkEnd; x += 16) {
    storeHalf4(out, f32x4.max(f32x4.min(v128.load(x), high), low));
    out += 8;
  }
  for (; x < end; x += 4) {
    const v = f32x4.max(f32x4.min(f32x4.splat(load<f32>(x)), high), low);
    store<u16>(out, <u16>i32x4.extract_lane(encodeHalf4(v), 0));
    out += 2;
  }
}

/** One element at a time, as headDim may be odd; returns the scale. As quantise in vector.ts. */
function storeBytes(out: usize, x: usize, count: usize): f32 {
  let largest: f32 = 0;
  for (let k: usize = 0; k < count; k++) largest = max<f32>(largest, abs<f32>(load<f32>(x + 4 * k)));
  const scale = largest / INT8_MOST;
  if (!(scale > 0 && scale < Infinity)) {
    memory.fill(out, 0, count);
    return scale;
  }
  for (let k: usize = 0; k < count; k++) {
    const q = nearest<f32>(load<f32>(x + 4 * k) / scale);
    store<i8>(out + k, <i8>max<f32>(-INT8_MOST, min<f32>(INT8_MOST, q)));
  }
  return scale;
}
