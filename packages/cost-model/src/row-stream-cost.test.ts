import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deviceProfile, devices, rowStream, settings, shape } from "./cost.fixture.js";
import type { StreamProfile } from "./device-profile.js";
import type { TokenRequest } from "./pass-request.js";
import { rowStreamCost } from "./row-stream-cost.js";
import { denseSparsity } from "./sparsity.js";
import { chunkParts, cutRows } from "./stream-reads.js";

const LAYER_BYTES = 4096 * rowStream.bytesPerNeuron;
const MiB = 2 ** 20;

/** Chunks of 1 MiB in a millisecond, of 8 in four; nothing lost beside arithmetic. */
const stream: StreamProfile = {
  chunks: [
    { sizeBytes: MiB, depth: 8, bytesPerSec: MiB * 1000, spread: null },
    { sizeBytes: 8 * MiB, depth: 8, bytesPerSec: 2 * MiB * 1000, spread: null },
  ],
  firstMemory: null,
  chunkUs: 0,
  shareUnderCompute: 1,
  computeShareUnderReads: 1,
};

function request(more: Partial<TokenRequest> = {}, of: StreamProfile | null = stream): TokenRequest {
  const profile = deviceProfile({});
  return {
    shape: { ...shape, rowStream },
    profile: { ...profile, flash: { ...profile.flash, stream: of } },
    sparsity: denseSparsity(4),
    slotsByLayer: [4, 4, 4, 4],
    // 8 MiB: three chunks a layer of 24.
    streamNeurons: Math.ceil((8 * MiB + 8192) / rowStream.bytesPerNeuron),
    kvPrecision: "f16",
    position: 64,
    seenTokens: 64,
    settings: { ...settings, mode: "dense", readers: 8 },
    ...more,
  };
}

describe("rowStreamCost", () => {
  it("reads a layer whole unless all of it is held", () => {
    const { bytes } = rowStreamCost(request({ slotsByLayer: [4096, 4095, 4, 4096] }), rowStream, 1, true);
    expect(bytes).toBe(2 * LAYER_BYTES);
  });
  it("takes each chunk as long as chunks of its size take, and waits for all of it where nothing flies ahead", () => {
    const { readMs, exposedMs } = rowStreamCost(request(), rowStream, 5, false);
    expect(readMs).toBeCloseTo(4 * 3 * 4, 1);
    expect(exposedMs).toBe(readMs);
  });
  it("hides of a chunk what is computed since the chunk before it, and nothing of the first", () => {
    // A third of a layer's arithmetic beside each chunk but the first: 11 times one of 4 ms.
    const { readMs, exposedMs } = rowStreamCost(request(), rowStream, 3, true);
    expect(readMs - exposedMs).toBeCloseTo(11, 1);
  });
  it("resident layers before the first that streams hid its reads, though nothing is in flight yet; later ones hide one chunk", () => {
    const hidden = (slotsByLayer: number[]) => {
      const { readMs, exposedMs } = rowStreamCost(request({ slotsByLayer }), rowStream, 30, true);
      return readMs - exposedMs;
    };
    // Two of a layer's three chunks.
    expect(hidden([4096, 4096, 4096, 4])).toBeCloseTo(8, 1);
    expect(hidden([4, 4096, 4096, 4])).toBeCloseTo(8 + 4 + 8, 1);
  });
  it("adds what each chunk costs beyond its reads", () => {
    const plain = rowStreamCost(request(), rowStream, 0, true);
    const waiting = rowStreamCost(request({}, { ...stream, chunkUs: 100 }), rowStream, 0, true);
    expect(waiting.exposedMs - plain.exposedMs).toBeCloseTo(12 * 0.1, 6);
  });
  it("takes a stream that was not measured for random reads of its size, no faster than large ones in sequence", () => {
    fc.assert(
      fc.property(devices, fc.integer({ min: 1, max: 32 }), (device, readers) => {
        const of = { ...request(), profile: deviceProfile(device), settings: { ...settings, readers } };
        const { readMs, bytes } = rowStreamCost(of, rowStream, 1, true);
        expect(readMs).toBeGreaterThanOrEqual((1000 * bytes) / of.profile.flash.sequentialBytesPerSec);
      }),
    );
  });
  it("more memory, for layers or for chunks, never takes longer where larger chunks are no slower", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 200, max: 1300 }), (held, neurons) => {
        const slots = (n: number) => [0, 1, 2, 3].map((layer) => (layer < n ? 4096 : 4));
        const exposedMs = (n: number) =>
          rowStreamCost(request({ slotsByLayer: slots(n), streamNeurons: neurons }), rowStream, 3, true).exposedMs;
        expect(exposedMs(held + 1)).toBeLessThanOrEqual(exposedMs(held));
      }),
    );
  });
});

it("chunks have every row of every matrix once, in order, and no more bytes than the area", () => {
  const matrices = fc.array(
    fc.record({ rows: fc.integer({ min: 1, max: 500 }), rowBytes: fc.integer({ min: 2, max: 5000 }) }),
    {
      minLength: 1,
      maxLength: 7,
    },
  );
  fc.assert(
    fc.property(matrices, fc.integer({ min: 8192, max: 400_000 }), (of, area) => {
      const next = of.map(() => 0);
      for (const chunk of cutRows(of, area)) {
        const parts = chunkParts(of, chunk);
        for (const { index, first, rows } of parts) {
          expect(first).toBe(next[index]);
          next[index] = first + rows;
        }
        expect(parts.reduce((sum, { index, rows }) => sum + rows * of[index]!.rowBytes, 0)).toBeLessThanOrEqual(area);
      }
      expect(next).toEqual(of.map(({ rows }) => rows));
    }),
  );
});
