import { describe, expect, it } from "vitest";
import { memoryReader } from "./memory-reader.js";
import { planRuns, type RunLimits } from "./run-plan.js";

const places = { fileOffset: 1000, strideBytes: 8, slotBase: 64, slotBytes: 8 };
const limits: RunLimits = { maxReadBytes: 1024, maxGapBytes: 0, gapPtr: 0 };
const u32 = (...values: number[]) => Uint32Array.from(values);

describe("planRuns", () => {
  it("reads consecutive neurons into consecutive slots as one piece", () => {
    expect(planRuns(places, u32(3, 4, 5), u32(0, 1, 2), u32(0, 1, 2), limits)).toEqual([
      { offset: 1024, sizeBytes: 24, pieces: [{ ptr: 64, sizeBytes: 24 }], picks: 3 },
    ]);
  });
  it("scatters one run over distant slots", () => {
    const pieces = [
      { ptr: 120, sizeBytes: 8 },
      { ptr: 64, sizeBytes: 8 },
    ];
    expect(planRuns(places, u32(3, 4), u32(7, 0), u32(0, 1), limits)).toEqual([
      { offset: 1024, sizeBytes: 16, pieces, picks: 2 },
    ]);
  });
  it("reads only the picked neurons and does not bridge gaps unasked", () => {
    const runs = planRuns(places, u32(1, 2, 3, 9), u32(0, 1, 2, 3), u32(0, 2, 3), limits);
    expect(runs.map((run) => [run.offset, run.sizeBytes])).toEqual([
      [1008, 8],
      [1024, 8],
      [1072, 8],
    ]);
  });
  it("reads over gaps of up to maxGapBytes, whose bytes land aside", () => {
    const bridging = { ...limits, maxGapBytes: 17, gapPtr: 4096 };
    expect(planRuns(places, u32(1, 4, 5, 9), u32(0, 1, 2, 3), u32(0, 1, 2, 3), bridging)).toEqual([
      {
        offset: 1008,
        sizeBytes: 40,
        pieces: [
          { ptr: 64, sizeBytes: 8 },
          { ptr: 4096, sizeBytes: 16 },
          { ptr: 72, sizeBytes: 16 },
        ],
        picks: 3,
      },
      { offset: 1072, sizeBytes: 8, pieces: [{ ptr: 88, sizeBytes: 8 }], picks: 1 },
    ]);
  });
  it("cuts runs at the longest read, gaps included", () => {
    const neurons = u32(0, 1, 2, 3, 4);
    const runs = planRuns(places, neurons, neurons, neurons, { ...limits, maxReadBytes: 17 });
    expect(runs.map((run) => run.sizeBytes)).toEqual([16, 16, 8]);
    const bridged = planRuns(places, u32(0, 2, 4), u32(0, 1, 2), u32(0, 1, 2), {
      maxReadBytes: 24,
      maxGapBytes: 8,
      gapPtr: 0,
    });
    expect(bridged.map((run) => run.sizeBytes)).toEqual([24, 8]);
  });
  it("never joins halves of a split slot, whose slots are farther apart than its records", () => {
    const runs = planRuns({ ...places, slotBytes: 16 }, u32(0, 1), u32(0, 1), u32(0, 1), limits);
    expect(runs[0]!.pieces).toEqual([
      { ptr: 64, sizeBytes: 8 },
      { ptr: 80, sizeBytes: 8 },
    ]);
  });
});

describe("memoryReader", () => {
  it("lands each piece where the plan says", () => {
    const file = Uint8Array.from({ length: 64 }, (_, i) => i);
    const memory = new Uint8Array(64);
    const runs = planRuns(
      { fileOffset: 0, strideBytes: 4, slotBase: 8, slotBytes: 4 },
      u32(2, 3),
      u32(5, 1),
      u32(0, 1),
      limits,
    );
    memoryReader(file).start(memory, runs);
    expect([...memory.subarray(28, 32)]).toEqual([8, 9, 10, 11]);
    expect([...memory.subarray(12, 16)]).toEqual([12, 13, 14, 15]);
  });
});
