/**
 * Stored elements to f32, in bulk. Exact, but that elements of blocks with a minimum are rounded once.
 *
 * Source bytes are little-endian and are viewed in place, so the machine must be little-endian too, as WebAssembly and every
 * machine that runs this are.
 */
import { assert, decodeFloat16, rowBytes } from "@flashwick/core";
import { decodeRow } from "@flashwick/kernels/reference";
import type { SourceDType } from "./checkpoint-tensor.js";

/** Every binary16 value, 256 KiB; made at the first use. */
let float16Values: Float32Array | null = null;

function float16Table(): Float32Array {
  if (float16Values) return float16Values;
  const values = new Float32Array(65536);
  for (let bits = 0; bits < values.length; bits++) values[bits] = decodeFloat16(bits);
  float16Values = values;
  return values;
}

/**
 * Decodes elements into f32.
 *
 * @param raw  `out.length` elements of `dtype`, whole blocks; its `byteOffset` must be a multiple of the element size.
 * @param out  f32, overwritten; must not share memory with `raw`.
 */
export function decodeElements(dtype: SourceDType, raw: Uint8Array, out: Float32Array): void {
  const count = out.length;
  assert(raw.byteLength === rowBytes(dtype, count), "decodeElements: as many elements in as out");
  switch (dtype) {
    case "f32":
      out.set(new Float32Array(raw.buffer, raw.byteOffset, count));
      break;
    case "f16":
      decodeHalves(new Uint16Array(raw.buffer, raw.byteOffset, count), out);
      break;
    case "bf16":
      decodeBrains(new Uint16Array(raw.buffer, raw.byteOffset, count), out);
      break;
    default:
      decodeRow(dtype, raw, 0, count, out);
  }
}

function decodeHalves(halves: Uint16Array, out: Float32Array): void {
  const values = float16Table();
  for (let i = 0; i < out.length; i++) out[i] = values[halves[i]!]!;
}

/** bfloat16 is the upper half of a binary32. */
function decodeBrains(halves: Uint16Array, out: Float32Array): void {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < out.length; i++) words[i] = halves[i]! << 16;
}

/** Index of the first NaN or infinity, or -1. */
export function firstNonFinite(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (values[i]! - values[i]! !== 0) return i;
  return -1;
}

/** Every `step`-th element from `first` on; of rows whose length is a multiple of `step`, the same of each. */
export function takeEvery(
  values: Float32Array,
  { first, step }: { readonly first: number; readonly step: number },
): Float32Array {
  if (step === 1) return values;
  return Float32Array.from({ length: values.length / step }, (_, i) => values[i * step + first]!);
}

/** Rows that are transposed together: 16 f32 are one cache line of the output. */
const TILE_ROWS = 16;

/**
 * Columns `firstCol … firstCol + n` of a row-major matrix, as rows of f32: the down columns of n neurons.
 *
 * @param raw  The whole matrix `[rows, cols]` of `dtype`.
 * @param firstCol Like n, a multiple of the elements of a block, unless the columns end.
 * @param tile Scratch, f32, at least `16 * n` elements.
 * @param out  f32 `[n, rows]`, overwritten.
 */
export function transposeColumns(
  dtype: SourceDType,
  raw: Uint8Array,
  rows: number,
  cols: number,
  firstCol: number,
  tile: Float32Array,
  out: Float32Array,
): void {
  const n = out.length / rows;
  const [stride, begin, length] = [cols, firstCol, n].map((count) => rowBytes(dtype, count)) as [
    number,
    number,
    number,
  ];
  assert(firstCol + n <= cols && raw.byteLength === rows * stride, "transposeColumns: the block lies inside");
  for (let row = 0; row < rows; row += TILE_ROWS) {
    const height = Math.min(TILE_ROWS, rows - row);
    for (let r = 0; r < height; r++) {
      const start = (row + r) * stride + begin;
      decodeElements(dtype, raw.subarray(start, start + length), tile.subarray(r * n, (r + 1) * n));
    }
    for (let i = 0; i < n; i++) {
      for (let r = 0; r < height; r++) out[i * rows + row + r] = tile[r * n + i]!;
    }
  }
}

/**
 * Chosen columns of a row-major matrix, as rows of f32: the down columns of neurons that do not lie side by side.
 *
 * @param raw     The whole matrix `[rows, cols]` of `dtype`.
 * @param columns Each below `cols`.
 * @param out     f32 `[columns.length, rows]`, overwritten.
 * Cost: every row is decoded once, `rows * cols` elements in all.
 */
export function gatherColumns(
  dtype: SourceDType,
  raw: Uint8Array,
  rows: number,
  cols: number,
  columns: Uint32Array,
  out: Float32Array,
): void {
  const stride = rowBytes(dtype, cols);
  assert(raw.byteLength === rows * stride && out.length === columns.length * rows, "gatherColumns: whole rows out");
  const values = new Float32Array(cols);
  for (let row = 0; row < rows; row++) {
    decodeElements(dtype, raw.subarray(row * stride, (row + 1) * stride), values);
    for (let i = 0; i < columns.length; i++) out[i * rows + row] = values[columns[i]!]!;
  }
}
