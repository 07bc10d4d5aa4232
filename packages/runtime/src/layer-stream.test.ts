import { describe, expect, it } from "vitest";
import { planStream, StreamAhead, type StreamChunk, type StreamedLayer } from "./layer-stream.js";

const MiB = 2 ** 20;

describe("planStream", () => {
  it("fills a layer that fits in place", () => {
    expect(planStream(20, 20, MiB)).toEqual({
      chunks: [
        { first: 0, count: 8, slot: 0 },
        { first: 8, count: 8, slot: 8 },
        { first: 16, count: 4, slot: 16 },
      ],
      keptSlots: 20,
    });
  });
  it("passes a layer through two areas at the end of its slots, and leaves those below alone", () => {
    const { chunks, keptSlots } = planStream(20, 16, MiB);
    expect(keptSlots).toBe(12);
    expect(chunks.map(({ first, count, slot }) => [first, count, slot])).toEqual([
      [0, 2, 12],
      [2, 2, 14],
      [4, 2, 12],
      [6, 2, 14],
      [8, 2, 12],
      [10, 2, 14],
      [12, 2, 12],
      [14, 2, 14],
      [16, 2, 12],
      [18, 2, 14],
    ]);
  });
  it("spends few slots on chunks alone", () => {
    expect(planStream(100, 9, 512)).toMatchObject({ keptSlots: 1 });
    expect(planStream(100, 9, 512).chunks[1]).toEqual({ first: 4, count: 4, slot: 5 });
  });
  it("covers every neuron once, for any sizes", () => {
    for (const [dFf, slots, slotBytes] of [
      [7, 2, 100],
      [1000, 31, 4096],
      [16384, 3600, 16384],
    ] as const) {
      const { chunks, keptSlots } = planStream(dFf, slots, slotBytes);
      let next = 0;
      for (const { first, count, slot } of chunks) {
        expect(first).toBe(next);
        expect(slot).toBeGreaterThanOrEqual(keptSlots);
        expect(slot + count).toBeLessThanOrEqual(slots);
        next += count;
      }
      expect(next).toBe(dFf);
    }
  });
});

/** Layers that write down what is asked of them. */
function script(chunksByLayer: readonly (readonly StreamChunk[])[], ahead = true) {
  const log: string[] = [];
  const layers = chunksByLayer.map((chunks, l): StreamedLayer => {
    const note = (what: string) => (chunk: StreamChunk) => void log.push(`${what} ${l}.${chunk.first}`);
    return { streamChunks: () => chunks, startChunk: note("start"), landChunk: note("land") };
  });
  const pipeline = new StreamAhead(layers, ahead, { readsIssued() {}, readsLanded() {} });
  const run = async () => {
    for (const [l, layer] of layers.entries()) {
      for (const [i, chunk] of chunksByLayer[l]!.entries()) {
        await pipeline.take(layer, chunksByLayer[l]!, i);
        log.push(`compute ${l}.${chunk.first}`);
      }
    }
    return log.splice(0);
  };
  return { layers, pipeline, log, run };
}

const chunk = (first: number): StreamChunk => ({ first, count: 1, slot: 0 });

describe("StreamAhead", () => {
  it("reads one chunk ahead, across layers, past those that are resident", async () => {
    const { run } = script([[chunk(0), chunk(1)], [], [chunk(0)]]);
    expect(await run()).toEqual([
      "start 0.0",
      "land 0.0",
      "start 0.1",
      "compute 0.0",
      "land 0.1",
      "start 2.0",
      "compute 0.1",
      "land 2.0",
      "compute 2.0",
    ]);
  });
  it("reads nothing ahead when told so", async () => {
    const { run } = script([[chunk(0), chunk(1)]], false);
    expect(await run()).toEqual(["start 0.0", "land 0.0", "compute 0.0", "start 0.1", "land 0.1", "compute 0.1"]);
  });
  it("keeps what has landed early, and forgets what was dropped", async () => {
    const { layers, pipeline, log } = script([[chunk(0), chunk(1)]]);
    const [layer] = layers;
    await pipeline.take(layer!, [chunk(0), chunk(1)], 0);
    await pipeline.settle();
    await pipeline.take(layer!, [chunk(0), chunk(1)], 1);
    expect(log.splice(0)).toEqual(["start 0.0", "land 0.0", "start 0.1", "land 0.1"]);
    await pipeline.take(layer!, [chunk(0), chunk(1)], 0);
    await pipeline.drop();
    await pipeline.take(layer!, [chunk(0), chunk(1)], 1);
    expect(log).toEqual(["start 0.0", "land 0.0", "start 0.1", "land 0.1", "start 0.1", "land 0.1"]);
  });
  it("starts anew after a chunk that failed to land", async () => {
    const { layers, pipeline, log } = script([[chunk(0)]]);
    const [layer] = layers;
    const { landChunk } = layer!;
    layer!.landChunk = () => {
      throw new Error("EIO");
    };
    await expect(pipeline.take(layer!, [chunk(0)], 0)).rejects.toThrow("EIO");
    layer!.landChunk = landChunk;
    await pipeline.take(layer!, [chunk(0)], 0);
    expect(log).toEqual(["start 0.0", "start 0.0", "land 0.0"]);
  });
});
