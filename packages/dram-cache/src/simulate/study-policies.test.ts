/** LFU and S3-FIFO: what they give up on traces that are made to tell them apart. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CachePolicy } from "../cache-policy.js";
import { lruPolicy } from "../lru-policy.js";
import { createNeuronCache } from "../slot-cache.js";
import { lfuPolicy } from "./lfu-policy.js";
import { replayTrace } from "./replay.js";
import { s3FifoPolicy } from "./s3-fifo-policy.js";
import { FIXTURE_D_FF, oneLayer, randomTraces } from "./traces.fixture.js";

/** What is resident after a trace of one layer. */
function residentAfter(policy: CachePolicy, slotCount: number, ...tokens: readonly (readonly number[])[]): number[] {
  const cache = createNeuronCache({ dFf: 40, slotCount, policy });
  for (const set of tokens) for (const _ of cache.admit(Uint32Array.from(set)));
  return [...cache.pointer.subarray(0, cache.numUsed)].sort((a, b) => a - b);
}

describe("lfuPolicy", () => {
  it("gives up what the fewest tokens have named, however recently", () => {
    expect(residentAfter(lfuPolicy(40), 3, [1, 2], [1, 2], [3], [4])).toEqual([1, 2, 4]);
    expect(residentAfter(lruPolicy(), 3, [1, 2], [1, 2], [3], [4])).not.toEqual([1, 2, 4]);
  });

  it("among equals, the least recently used", () => {
    expect(residentAfter(lfuPolicy(40), 2, [7], [3], [5])).toEqual([3, 5]);
  });
});

describe("s3FifoPolicy", () => {
  const scan = Array.from({ length: 30 }, (_, i) => [10 + i]);

  it("a scan passes through the small queue and leaves what is named often in the main one", () => {
    const often = [
      [1, 2],
      [1, 2],
      [1, 2],
      [1, 2],
    ];
    const resident = residentAfter(s3FifoPolicy(40, 6), 6, ...often, ...scan);
    expect(resident).toEqual(expect.arrayContaining([1, 2]));
    expect(residentAfter(lruPolicy(), 6, ...often, ...scan)).not.toContain(1);
  });

  it("a ghost comes back into the main queue, and outlives newcomers", () => {
    // 1 leaves the small queue, comes back as a ghost, and stays while others pass.
    const resident = residentAfter(s3FifoPolicy(40, 4), 4, [1], [2], [3], [4], [5], [6], [1], [7], [8], [9], [10]);
    expect(resident).toContain(1);
  });

  it("forgets what has left the cache by clear", () => {
    const policy = s3FifoPolicy(40, 3);
    const cache = createNeuronCache({ dFf: 40, slotCount: 3, policy });
    const admit = (set: number[]) => [...cache.admit(Uint32Array.from(set))].length;
    admit([1, 2, 3]);
    cache.clear();
    admit([4, 5, 6]);
    expect(() => admit([7])).not.toThrow();
    expect(cache.numUsed).toBe(3);
  });
});

describe("every policy for study", () => {
  it("admits what is named", () => {
    fc.assert(
      fc.property(randomTraces(12), fc.integer({ min: 1, max: 40 }), (trace, slots) => {
        for (const policy of [() => lfuPolicy(FIXTURE_D_FF), () => s3FifoPolicy(FIXTURE_D_FF, slots)]) {
          const { misses, hits, named } = replayTrace(trace, { slots, policy, slotBytes: 1 }).total;
          expect(hits + misses).toBe(named);
        }
      }),
    );
  });

  it("shows each wave as it replays", () => {
    const seen: string[] = [];
    const trace = oneLayer(8, [1, 2], [2, 3]);
    replayTrace(trace, {
      ...{ slots: 3, policy: () => lfuPolicy(8), slotBytes: 1 },
      onWave: (layer, token, { misses }) => seen.push(`${layer} ${token} ${misses.length}`),
    });
    expect(seen).toEqual(["0 0 2", "0 1 1"]);
  });
});
