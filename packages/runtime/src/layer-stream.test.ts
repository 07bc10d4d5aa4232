import { describe, expect, it } from "vitest";
import {
  chunkRange,
  cutChunks,
  StreamAhead,
  type StreamChunk,
  type StreamedLayer,
  StreamStage,
} from "./layer-stream.js";

const MiB = 2 ** 20;

describe("chunks", () => {
  it("are as long as the device wants them at most, and never longer than the layer", () => {
    expect(chunkRange(16384, 16384)).toEqual({ leastNeurons: 8, mostNeurons: 512 });
    expect(chunkRange(1024, 1024)).toEqual({ leastNeurons: 8, mostNeurons: 256 });
    expect(chunkRange(5, 1024)).toEqual({ leastNeurons: 5, mostNeurons: 5 });
    expect(chunkRange(64, 4 * MiB)).toEqual({ leastNeurons: 8, mostNeurons: 8 });
  });
  it("cover every neuron once, for any sizes", () => {
    for (const [dFf, most] of [
      [7, 2],
      [1000, 31],
      [16384, 512],
      [3, 8],
    ] as const) {
      let next = 0;
      for (const { first, count } of cutChunks(dFf, most)) {
        expect(first).toBe(next);
        expect(count).toBeLessThanOrEqual(most);
        next += count;
      }
      expect(next).toBe(dFf);
    }
  });
  it("land in two areas in turn, whichever layers they belong to", () => {
    const stage = new StreamStage(4096, 8, 512, 65536, 1);
    const areas = [stage.nextArea(), stage.nextArea(), stage.nextArea()];
    expect(areas.map(({ ptr, upBias }) => [ptr, upBias])).toEqual([
      [4096, 65536],
      [8192, 65568],
      [4096, 65536],
    ]);
  });
  it("hold the biases of gate and up apart", () => {
    const stage = new StreamStage(4096, 8, 512, 65536, 2);
    expect([stage.nextArea(), stage.nextArea()]).toEqual([
      { ptr: 4096, upBias: 65536, gateBias: 65568 },
      { ptr: 8192, upBias: 65600, gateBias: 65632 },
    ]);
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

const chunk = (first: number): StreamChunk => ({ first, count: 1 });

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
