import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chunkReadBytes, SECTOR_BYTES, streamReadBytes } from "./stream-reads.js";

const KiB = 1024;
const countReads = (parts: readonly number[], bytes: number) =>
  parts.reduce((sum, part) => sum + Math.ceil((part + 2 * SECTOR_BYTES) / bytes), 0);

describe("reads of a chunk in several pieces", () => {
  it("are one for each reader where that makes them a little longer", () => {
    // Keys, queries, values, output and the beginning of a gate of SmolLM2-135M in Q4_1: ten reads of 128 KiB.
    const parts = [67.5, 202.5, 67.5, 202.5, 400].map((size) => size * KiB);
    expect(countReads(parts, streamReadBytes(940 * KiB, 8))).toBe(10);
    const bytes = chunkReadBytes(parts, 8);
    expect(countReads(parts, bytes)).toBe(8);
    expect(bytes / KiB).toBeLessThan(204);
  });
  it("are fair shares where one piece is most of the chunk", () => {
    const parts = [7 * 1024, 200, 200, 200, 200, 200, 200].map((size) => size * KiB);
    expect(chunkReadBytes(parts, 8)).toBe(1024 * KiB);
  });
  it("are never above twice a fair share, and one for each reader if that suffices", () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 4 * KiB * KiB }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(lengths, fc.nat(32), (parts, readers) => {
        const bytes = chunkReadBytes(parts, readers);
        const fair = chunkReadBytes([parts.reduce((sum, part) => sum + part, 0)], 1);
        expect(bytes % SECTOR_BYTES).toBe(0);
        expect(bytes).toBeLessThanOrEqual(2 * fair);
        for (let shorter = SECTOR_BYTES; shorter < bytes; shorter += 64 * SECTOR_BYTES) {
          const isFair =
            shorter >=
            streamReadBytes(
              parts.reduce((sum, part) => sum + part, 0),
              readers,
            );
          if (isFair && countReads(parts, bytes) <= readers)
            expect(countReads(parts, shorter)).toBeGreaterThan(readers);
        }
      }),
    );
  });
});
