import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { added, readTotals, writeTotals } from "./results-table.js";

const result = { seconds: 2, found: [], faults: [] };

it("a run adds to what is in the table, and goes on from there", () => {
  const folder = mkdtempSync(join(tmpdir(), "fuzz-table-"));
  const path = join(folder, "fuzzing.csv");
  expect(readTotals(path)).toEqual(new Map());
  const first = added(undefined, { ...result, inputs: 1000, longestMs: 3, largestGrowthBytes: 4096 });
  writeTotals(path, new Map([["pickle", first]]));
  const read = readTotals(path);
  expect(read.get("pickle")).toEqual(first);
  const fault = { what: "throws", input: new Uint8Array(1), count: 7 };
  const more = { ...result, inputs: 500, longestMs: 9, largestGrowthBytes: 2048, faults: [fault] };
  expect(added(read.get("pickle"), more)).toEqual({
    ...{ inputs: 1500, seconds: 4, longestMs: 9, largestGrowthBytes: 4096, faults: 1 },
  });
  rmSync(folder, { recursive: true });
});
