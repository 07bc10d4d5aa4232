import { describe, expect, it } from "vitest";
import { type LayerReads, readsBetween, readsBytes, readsCount } from "./layer-reads.js";

const reads: LayerReads = { groups: [{ count: 7, sizeBytes: 1000 }], extraPieces: 700, isStream: false };

/** The reads of `waves` waves. */
function inWaves(waves: number): LayerReads[] {
  return Array.from({ length: waves }, (_, wave) => readsBetween(reads, wave / waves, (wave + 1) / waves));
}

describe("readsBetween", () => {
  it.each([1, 3, 7, 19])("in %i waves there are the same reads, bytes and pieces", (waves) => {
    const parts = inWaves(waves);
    const sum = (of: (part: LayerReads) => number) => parts.reduce((total, part) => total + of(part), 0);
    expect([sum(readsCount), sum(readsBytes)]).toEqual([7, 7000]);
    expect(sum(({ extraPieces }) => extraPieces)).toBeCloseTo(700, 9);
  });
  it("a wave without reads had pieces, which nobody then paid for", () => {
    const empty = inWaves(19).filter(({ groups }) => groups.length === 0);
    expect(empty).toHaveLength(12);
    expect(empty.every(({ extraPieces }) => extraPieces === 0)).toBe(true);
  });
});
