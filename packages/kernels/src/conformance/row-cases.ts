/** `copyRows` and `addRowsScaled`: some vectors of a batch, and back. */
import { paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import { expectEqual, expectSameBits, expectZeros } from "./verdict.js";
import { SENTINEL, type Vectors, type Workbench } from "./workbench.js";

export interface RowsCase {
  readonly op: "rows";
  /** Vectors of the batch. */
  readonly nTokens: number;
  /** Of which so many are taken, or added to; at most `nTokens`. */
  readonly n: number;
  readonly cols: number;
}

export function rowsTitle({ nTokens, n, cols }: RowsCase): string {
  return `copyRows, addRowsScaled ${n} of [${nTokens}, ${cols}]: bits copied; each product and sum rounded once, exact; others and padding untouched`;
}

export function runRows(bench: Workbench, c: RowsCase): void {
  const x = bench.vectors(c.nTokens, c.cols);
  const rows = shuffled(bench, c);
  checkCopy(bench, c, x, rows);
  checkSum(bench, c, rows);
}

/** Distinct rows, in no order. */
function shuffled({ random }: Workbench, { nTokens, n }: RowsCase): number[] {
  const rows = Array.from({ length: nTokens }, (_, t) => t);
  for (let i = rows.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [rows[i], rows[j]] = [rows[j]!, rows[i]!];
  }
  return rows.slice(0, n);
}

/** One row comes twice, which sums do not allow. NaN is copied with its payload. */
function checkCopy(bench: Workbench, { n, nTokens, cols }: RowsCase, x: Vectors, distinct: readonly number[]): void {
  const { arena, kernels } = bench;
  const stride = paddedLength(cols);
  const rows = n > 2 ? [...distinct.slice(0, -1), distinct[0]!] : distinct;
  arena.u32(x.ptr, 1)[0] = 0x7fc12345;
  const [out, batch] = [bench.output((n + 1) * stride), bench.snapshot(x.ptr, nTokens * stride)];
  kernels.copyRows(out, x.ptr, bench.indices(rows), n, cols);
  for (const [i, row] of rows.entries()) {
    const expected = batch.subarray(row * stride, (row + 1) * stride);
    expectSameBits(`copy ${i}`, arena.f32(out + 4 * i * stride, stride), expected);
  }
  for (const beyond of arena.f32(out + 4 * n * stride, stride)) expectEqual("beyond the copies", beyond, SENTINEL);
}

function checkSum(bench: Workbench, c: RowsCase, rows: readonly number[]): void {
  const { arena, kernels } = bench;
  const [out, x] = [bench.vectors(c.nTokens, c.cols), bench.vectors(c.n, c.cols)];
  const factors = bench.floats(c.n);
  // Padding would become NaN.
  if (c.n > 1) [factors.values[1], arena.f32(factors.ptr, 2)[1]] = [Number.NaN, Number.NaN];
  const before = new Map(out.values.entries());
  for (const [i, row] of rows.entries()) before.set(row, sumOf(out.values[row]!, x.values[i]!, factors.values[i]!));
  kernels.addRowsScaled(out.ptr, x.ptr, bench.indices(rows), factors.ptr, c.n, c.cols);
  for (const [t, expected] of before) expectRow(bench, `out[${t}]`, out.ptr, t, expected);
}

function sumOf(out: Float64Array, x: Float64Array, factor: number): Float64Array {
  return out.map((value, k) => Math.fround(Math.fround(value) + Math.fround(Math.fround(x[k]!) * Math.fround(factor))));
}

function expectRow({ arena }: Workbench, what: string, out: Ptr, t: number, expected: Float64Array): void {
  const stride = paddedLength(expected.length);
  const row = arena.f32(out + 4 * t * stride, stride);
  for (const [k, value] of expected.entries()) expectEqual(`${what}[${k}]`, row[k], Math.fround(value));
  expectZeros(`padding of ${what}`, row.subarray(expected.length));
}
