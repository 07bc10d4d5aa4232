import { describe, expect, it } from "vitest";
import { type PaperRow, predictPaperTables } from "./predicted-rows.js";

const rows = predictPaperTables();
const bounded = rows.filter((row) => row.bounded);
const titled = (chosen: readonly PaperRow[]) =>
  chosen.map((row) => [`${row.model}, ${row.method}`, row] as [string, PaperRow]);
const within15Percent = (predicted: number | null, printed: number | null) => {
  expect(predicted! / printed!).toBeGreaterThan(0.85);
  expect(predicted! / printed!).toBeLessThan(1.15);
};

describe("table 2, OPT 6.7B on the M1 Max: I/O within 15 %", () => {
  it.each(titled(bounded.filter(({ table }) => table === 2)))("%s", (_, { predicted, printed }) => {
    within15Percent(predicted.ioMs, printed.ioMs);
  });
});

describe("table 3, CPU: totals within 15 %", () => {
  it.each(titled(bounded.filter(({ table }) => table === 3)))("%s", (_, { predicted, printed }) => {
    within15Percent(predicted.totalMs, printed.totalMs);
    within15Percent(predicted.ioMs, printed.ioMs);
  });
});

describe("predicted rows", () => {
  it("hold every row that the paper ran on the CPU", () => {
    const counted = rows.filter(({ backend }) => backend === "cpu").length;
    expect(bounded).toHaveLength(counted);
    expect(counted).toBe(5 + 14);
  });
  it("give the phases of the run that the device was calibrated by: Persimmon of table 5, within 5 %", () => {
    const { predicted } = rows.find(({ model, method }) => model === "persimmon-8b" && method === "all")!;
    for (const [ms, printed] of [
      [predicted.ioMs, 310.52],
      [predicted.memoryMs, 155.8],
      [predicted.computeMs, 623.74],
    ] as const) {
      expect(Math.abs(ms! / printed - 1)).toBeLessThan(0.05);
    }
  });
  it("climb as the paper's do: each means of table 2 takes less I/O than the one before", () => {
    const ioMs = rows.filter(({ table }) => table === 2).map(({ predicted }) => predicted.ioMs!);
    for (let i = 1; i < ioMs.length; i++) expect(ioMs[i]!).toBeLessThan(ioMs[i - 1]!);
  });
});
