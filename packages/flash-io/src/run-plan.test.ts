import { describe, expect, it } from "vitest";
import { memoryReader } from "./memory-reader.js";
import { planRuns } from "./run-plan.js";

const places = { fileOffset: 1000, strideBytes: 8, slotBase: 64, slotBytes: 8 };
const u32 = (...values: number[]) => Uint32Array.from(values);

describe("planRuns", () => {
  it("reads consecutive neurons into consecutive slots as one piece", () => {
    expect(planRuns(places, u32(3, 4, 5), u32(0, 1, 2), u32(0, 1, 2), 1024)).toEqual([
      { offset: 1024, sizeBytes: 24, pieces: [{ ptr: 64, sizeBytes: 24 }] },
    ]);
  });
  it("scatters one run over distant slots", () => {
    expect(planRuns(places, u32(3, 4), u32(7, 0), u32(0, 1), 1024)).toEqual([
      { offset: 1024, sizeBytes: 16, pieces: [{ ptr: 120, sizeBytes: 8 }, { ptr: 64, sizeBytes: 8 }] }, // biome-ignore format: one line a run
    ]);
  });
  it("reads only the picked neurons and does not bridge gaps", () => {
    const runs = planRuns(places, u32(1, 2, 3, 9), u32(0, 1, 2, 3), u32(0, 2, 3), 1024);
    expect(runs.map((run) => [run.offset, run.sizeBytes])).toEqual([
      [1008, 8],
      [1024, 8],
      [1072, 8],
    ]);
  });
  it("cuts runs at the longest read", () => {
    const runs = planRuns(places, u32(0, 1, 2, 3, 4), u32(0, 1, 2, 3, 4), u32(0, 1, 2, 3, 4), 17);
    expect(runs.map((run) => run.sizeBytes)).toEqual([16, 16, 8]);
  });
  it("never joins halves of a split slot, whose slots are farther apart than its records", () => {
    const runs = planRuns({ ...places, slotBytes: 16 }, u32(0, 1), u32(0, 1), u32(0, 1), 1024);
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
      99,
    );
    memoryReader(file).start(memory, runs);
    expect([...memory.subarray(28, 32)]).toEqual([8, 9, 10, 11]);
    expect([...memory.subarray(12, 16)]).toEqual([12, 13, 14, 15]);
  });
});
