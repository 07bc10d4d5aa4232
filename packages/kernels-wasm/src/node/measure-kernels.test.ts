import { expect, it } from "vitest";
import { type KernelRow, measureHandOffUs, measureKernels } from "./measure-kernels.js";

it("checks, measures row by row, and stops where it is told to", async () => {
  const rows: KernelRow[] = [];
  const stop = new AbortController();
  const onRow = (row: KernelRow) => {
    rows.push(row);
    if (row.dtype === "f32") stop.abort(new Error("enough"));
  };
  const measuring = measureKernels({ threads: 2, weightMiB: 1, onRow, signal: stop.signal });
  await expect(measuring).rejects.toThrow("enough");
  expect(rows.map(({ kernel, dtype, shape, threads }) => [kernel, dtype, shape, threads])).toEqual([
    ["read loop", null, "1 MiB", 1],
    ["linear", "f32", "[64, 4096]", 1],
  ]);
  for (const { ms, gbPerSec, ceilingGbPerSec, share } of rows) {
    expect(gbPerSec).toBeCloseTo(2 ** 20 / ms / 1e6);
    expect(share).toBeCloseTo(gbPerSec / ceilingGbPerSec);
  }
});

it("measures a hand-off as a positive time", async () => {
  expect(await measureHandOffUs(2)).toBeGreaterThan(0);
});
