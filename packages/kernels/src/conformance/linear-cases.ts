/** `linear` and `gatherRow` against a double loop. */
import { type DType, isBlockDType, paddedLength, rowBytes } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import { type Matrix, TAIL_BYTES } from "../contract.js";
import { BYTE_VECTOR_MOST, VECTOR_MOST } from "../reference/block-product.js";
import { createByteVectorReference, createReferenceKernels } from "../reference/reference-kernels.js";
import { blockProductBound, dot, productBound, productTolerance } from "./tolerance.js";
import { expectClose, expectEqual, expectSameBits, expectZeros } from "./verdict.js";
import { SENTINEL, type StoredMatrix, type Vectors, type Workbench } from "./workbench.js";

export interface LinearCase {
  readonly op: "linear";
  /**
   * `close`: to the exact product, and if rows are blocks the reference's bits; `batch`: to its vectors one by one, bit for bit; `ranges`: parts, each without the other rows, to the whole, bit for bit;
   * `slices`, of blocks: each third of the rows as a matrix of its own, in its place in a tensor that begins at every kind of address, to the whole, bit for bit.
   */
  readonly check: "close" | "batch" | "ranges" | "slices";
  readonly dtype: DType;
  readonly rows: number;
  readonly cols: number;
  readonly nTokens: number;
  readonly bias: boolean;
  /** Of vectors beside blocks: 15 if absent. */
  readonly vectorBits?: 8;
}

export function linearTitle(c: LinearCase): string {
  const shape = `linear ${c.dtype} [${c.rows}, ${c.cols}] x ${c.nTokens}${c.bias ? " + bias" : ""}${c.vectorBits ? ", vectors of 8 bits" : ""}`;
  if (c.check === "batch") return `${shape}: a batch equals its vectors one by one, bit for bit`;
  if (c.check === "ranges") return `${shape}: ranges of rows, alone in memory, equal the whole, bit for bit`;
  if (c.check === "slices")
    return `${shape}: each third of the rows as a matrix, at any address, equals the whole, bit for bit`;
  return `${shape}: within ${productTolerance(c.dtype, vectorMost(c))}`;
}

/** |q| of vectors beside blocks. */
function vectorMost({ vectorBits }: LinearCase): number {
  return vectorBits === 8 ? BYTE_VECTOR_MOST : VECTOR_MOST;
}

export function runLinear(bench: Workbench, c: LinearCase): void {
  // Before the matrix, so that what a part's row 0 would be lies below it, and below zero where rows are long.
  const part = c.check === "ranges" ? bench.arena.allocate(c.rows * rowBytes(c.dtype, c.cols) + TAIL_BYTES) : 0;
  const w = bench.matrix(c.dtype, c.rows, c.cols);
  const x = bench.vectors(c.nTokens, c.cols);
  // One group of equal numbers: the largest integer sums that there can be.
  if (isBlockDType(c.dtype)) fillGroup(bench, x);
  const bias = c.bias ? bench.floats(c.rows) : { ptr: 0, values: new Float64Array(c.rows) };
  const scratch = bench.scratch(bench.kernels.scratchBytes(c.cols, c.nTokens));
  const count = c.nTokens * paddedLength(c.rows);
  const out = bench.output(count);
  bench.kernels.linear(out, x.ptr, w.matrix, bias.ptr, c.nTokens, scratch);
  const whole = bench.snapshot(out, count);
  if (c.check === "slices") {
    compareSlices(bench, c, w.matrix, x.ptr, bias.ptr, scratch, whole);
  } else if (c.check === "close") {
    compareWithExact(whole, w, x, bias.values, vectorMost(c));
    compareGatheredRow(bench, w);
    if (isBlockDType(c.dtype)) {
      bench.arena.f32(out, count).fill(SENTINEL);
      const reference = c.vectorBits === 8 ? createByteVectorReference : createReferenceKernels;
      reference(bench.arena).linear(out, x.ptr, w.matrix, bias.ptr, c.nTokens, 0);
      expectSameBits("out", whole, bench.snapshot(out, count));
    }
  } else {
    bench.arena.f32(out, count).fill(SENTINEL);
    if (c.check === "batch") oneByOne(bench, c, out, x, w, bias.ptr, scratch);
    else inRanges(bench, c, out, x, w, bias.ptr, scratch, part);
    expectSameBits("out", bench.snapshot(out, count), whole);
  }
}

/** The first 32 elements of the first vector become 1. */
function fillGroup(bench: Workbench, x: Vectors): void {
  x.values[0]!.fill(1, 0, 32);
  bench.arena.f32(x.ptr, 32).fill(1);
}

function compareWithExact(out: Float32Array, w: StoredMatrix, x: Vectors, bias: Float64Array, most: number): void {
  const { rows, dtype } = w.matrix;
  const stride = paddedLength(rows);
  for (const [t, vector] of x.values.entries()) {
    for (const [r, row] of w.rows.entries()) {
      const expected = dot(row, vector) + bias[r]!;
      const bound = isBlockDType(dtype)
        ? blockProductBound(w.magnitudes[r]!, vector, bias[r]!, most)
        : productBound(dtype, row, vector, bias[r]!);
      expectClose(`out[${t}, ${r}]`, out[t * stride + r]!, expected, bound);
    }
    expectZeros(`padding of out[${t}]`, out.subarray(t * stride + rows, (t + 1) * stride));
  }
}

function oneByOne(
  bench: Workbench,
  c: LinearCase,
  out: number,
  x: Vectors,
  w: StoredMatrix,
  bias: number,
  scratch: number,
): void {
  for (let t = 0; t < c.nTokens; t++) {
    const [to, from] = [out + 4 * t * paddedLength(c.rows), x.ptr + 4 * t * paddedLength(c.cols)];
    bench.kernels.linear(to, from, w.matrix, bias, 1, scratch);
  }
}

function inRanges(
  bench: Workbench,
  c: LinearCase,
  out: number,
  x: Vectors,
  w: StoredMatrix,
  bias: number,
  scratch: number,
  part: number,
): void {
  const cuts = [0, 0, 1, Math.floor(c.rows / 3), Math.floor(c.rows / 3) + 5, c.rows].map((cut) =>
    Math.min(cut, c.rows),
  );
  for (let i = 1; i < cuts.length; i++) {
    const [begin, end] = [cuts[i - 1]!, cuts[i]!];
    const alone = onlyRows(bench, w.matrix, begin, end, part);
    bench.kernels.linear(out, x.ptr, alone, bias, c.nTokens, scratch, begin, end);
    if (end < c.rows) expectEqual("first row behind the range", bench.arena.f32(out, c.rows)[end], SENTINEL);
  }
}

/** Blocks begin at multiples of 2, but those of MXFP4, which have 17 bytes, anywhere. */
function addressesOf(dtype: DType): readonly number[] {
  return dtype === "mxfp4" ? [0, 1, 2, 3, 15] : [0, 2, 14];
}

/** The rows of one expert of three, say: what stands before and behind a slice is other experts' rows. */
function compareSlices(
  bench: Workbench,
  c: LinearCase,
  w: Matrix,
  x: Ptr,
  bias: Ptr,
  scratch: Ptr,
  whole: Float32Array,
): void {
  const { arena, kernels } = bench;
  const stride = rowBytes(c.dtype, c.cols);
  const [rows, width] = [c.rows / 3, paddedLength(c.rows)];
  const count = c.nTokens * paddedLength(rows);
  for (const address of addressesOf(c.dtype)) {
    const tensor = arena.allocate(c.rows * stride + TAIL_BYTES + 16) + address;
    arena.u8(tensor, c.rows * stride).set(arena.u8(w.data, c.rows * stride));
    for (let first = 0; first < c.rows; first += rows) {
      const out = bench.output(count);
      const slice = { ...w, data: tensor + first * stride, rows };
      kernels.linear(out, x, slice, bias && bias + 4 * first, c.nTokens, scratch);
      for (let t = 0; t < c.nTokens; t++) {
        const found = bench.snapshot(out + 4 * t * paddedLength(rows), rows);
        const from = t * width + first;
        expectSameBits(`rows from ${first} at ${address}, out[${t}]`, found, whole.subarray(from, from + rows));
      }
    }
  }
}

/** The matrix with these rows alone in memory, from `part` on. */
function onlyRows({ arena }: Workbench, w: Matrix, begin: number, end: number, part: number): Matrix {
  const stride = rowBytes(w.dtype, w.cols);
  arena.u8(part, w.rows * stride).fill(0);
  arena.u8(part, (end - begin) * stride).set(arena.u8(w.data + begin * stride, (end - begin) * stride));
  return { ...w, data: part - begin * stride };
}

/** Dequantised rows: one rounding, of the scale. */
function compareGatheredRow(bench: Workbench, w: StoredMatrix): void {
  const { cols } = w.matrix;
  const index = w.rows.length - 1;
  const out = bench.output(paddedLength(cols));
  bench.kernels.gatherRow(out, w.matrix, index);
  const row = bench.arena.f32(out, paddedLength(cols));
  for (let k = 0; k < cols; k++) expectEqual(`gathered[${k}]`, row[k]! + 0, Math.fround(w.rows[index]![k]!) + 0);
  expectZeros("padding of the gathered row", row.subarray(cols));
}
