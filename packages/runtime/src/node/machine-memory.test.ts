/** Where nobody gives a budget, the machine does. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MiB, neuronGrid } from "@flashwick/core";
import { expect, it, vi } from "vitest";
import { modelBytes } from "../checkpoint.fixture.js";
import { RESERVE_BYTES, spareMemoryBytes } from "./machine-memory.js";
import { openModel } from "./open-model.js";

it("a model without a budget does not take the whole machine: it has what is free, less the reserve", async () => {
  const dir = mkdtempSync(join(tmpdir(), "budget-"));
  const path = join(dir, "model.gguf");
  writeFileSync(path, await modelBytes("opt-demo", "f16"));
  const available = vi.spyOn(process, "availableMemory");
  try {
    available.mockReturnValue(RESERVE_BYTES + 12 * MiB);
    const small = await openModel(path);
    const { dram, slotsByLayer } = small.plan(16);
    expect(dram.budget).toBe(12 * MiB);
    expect(dram.total).toBeLessThanOrEqual(12 * MiB);
    expect(slotsByLayer.some((slots) => slots < neuronGrid(small.header.geometry).dFf)).toBe(true);
    await small.close();
    available.mockReturnValue(RESERVE_BYTES + 400 * MiB);
    const large = await openModel(path);
    expect(large.plan(16).slotsByLayer.every((slots) => slots === neuronGrid(large.header.geometry).dFf)).toBe(true);
    await large.close();
    const given = await openModel(path, { dramBudgetBytes: 13 * MiB });
    expect(given.plan(16).dram.budget).toBe(13 * MiB);
    await given.close();
  } finally {
    available.mockRestore();
    rmSync(dir, { recursive: true });
  }
});

it("a machine with nothing to spare is told the smallest budget that would do", async () => {
  expect(spareMemoryBytes(RESERVE_BYTES / 2)).toBe(1);
  expect(spareMemoryBytes(RESERVE_BYTES + 7)).toBe(7);
});
