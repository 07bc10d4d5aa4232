/** LFU, S3-FIFO and least-stale: what they give up on traces that are made to tell them apart. */
import { describe, expect, it } from "vitest";
import type { CachePolicy } from "./cache-policy.js";
import { leastStalePolicy } from "./least-stale-policy.js";
import { lfuPolicy } from "./lfu-policy.js";
import { lruPolicy } from "./lru-policy.js";
import type { NeuronCache } from "./plan.js";
import { s3FifoPolicy } from "./s3-fifo-policy.js";
import { createNeuronCache } from "./slot-cache.js";

const u32 = (...units: number[]) => Uint32Array.from(units);
const residents = (cache: NeuronCache) => [...cache.pointer.subarray(0, cache.numUsed)].sort((a, b) => a - b);

function admit(cache: NeuronCache, ...tokens: readonly (readonly number[])[]): void {
  for (const set of tokens) for (const _ of cache.admit(u32(...set)));
}

/** What is resident after a trace of one layer. */
function residentAfter(policy: CachePolicy, slotCount: number, ...tokens: readonly (readonly number[])[]): number[] {
  const cache = createNeuronCache({ dFf: 40, slotCount, policy });
  admit(cache, ...tokens);
  return residents(cache);
}

describe("lfuPolicy", () => {
  it("gives up what the fewest tokens have named, however recently", () => {
    expect(residentAfter(lfuPolicy(), 3, [1, 2], [1, 2], [3], [4])).toEqual([1, 2, 4]);
    expect(residentAfter(lruPolicy(), 3, [1, 2], [1, 2], [3], [4])).not.toEqual([1, 2, 4]);
  });

  it("among equals gives up the least recently used, then the lower", () => {
    expect(residentAfter(lfuPolicy(), 2, [7], [3], [5])).toEqual([3, 5]);
    expect(residentAfter(lfuPolicy(), 2, [3, 7], [5])).toEqual([5, 7]);
  });

  it("halves its counts, so that what was hot long ago leaves", () => {
    const tokens = [[1], [1], [1], [1], [2], [3], [2], [3], [4]];
    expect(residentAfter(lfuPolicy(Number.POSITIVE_INFINITY), 2, ...tokens)).toEqual([1, 4]);
    expect(residentAfter(lfuPolicy(2), 2, ...tokens)).toEqual([3, 4]);
  });

  it("takes drafts back as if they had never been counted", () => {
    const cache = createNeuronCache({ dFf: 40, slotCount: 3, policy: lfuPolicy() });
    admit(cache, [1], [2], [2], [3]);
    for (const _ of cache.admit([u32(2), u32(1), u32(1)]));
    cache.retract(2);
    admit(cache, [4]);
    // 1 and 3 were named once, 1 longer ago.
    expect(residents(cache)).toEqual([2, 3, 4]);
  });

  it("in a pool keeps what a layer has read for its next token", () => {
    const cache = createNeuronCache({ dFf: 16, nLayers: 2, slotCount: 4, policy: lfuPolicy() });
    admit(cache, [0, 1], [8, 9], [0, 1], [8, 9], [0, 2], [8, 10], [0, 2], [8, 10]);
    expect(cache.counters).toMatchObject({ misses: 6, hits: 10 });
  });

  it.each([0, -1, Number.NaN])("refuses to halve after %s tokens", (tokens) => {
    expect(() => lfuPolicy(tokens)).toThrowError(expect.objectContaining({ code: "INPUT_INVALID" }));
  });
});

describe("s3FifoPolicy", () => {
  const scan = Array.from({ length: 30 }, (_, i) => [10 + i]);
  const often = Array.from({ length: 4 }, () => [1, 2]);

  it("a scan passes through the small queue and leaves what is named often in the main one", () => {
    expect(residentAfter(s3FifoPolicy(), 6, ...often, ...scan)).toEqual(expect.arrayContaining([1, 2]));
    expect(residentAfter(lruPolicy(), 6, ...often, ...scan)).not.toContain(1);
  });

  it("a ghost comes back into the main queue, and outlives newcomers", () => {
    const passing = [[7], [8], [9], [10]];
    expect(residentAfter(s3FifoPolicy(), 4, [1], [2], [3], [4], [5], [6], [1], ...passing)).toContain(1);
    expect(residentAfter(s3FifoPolicy(), 4, [2], [3], [4], [5], [6], [1], ...passing)).not.toContain(1);
  });

  it("does not count drafts that are taken back", () => {
    const cache = createNeuronCache({ dFf: 40, slotCount: 2, policy: s3FifoPolicy() });
    admit(cache, [1], [2]);
    for (const _ of cache.admit([u32(1), u32(1), u32(2)]));
    cache.retract(3);
    admit(cache, [3]);
    expect(residents(cache)).toEqual([2, 3]);
  });

  it("forgets what has left the cache by clear", () => {
    const cache = createNeuronCache({ dFf: 40, slotCount: 3, policy: s3FifoPolicy() });
    admit(cache, [1, 2, 3]);
    cache.clear();
    admit(cache, [4, 5, 6], [7]);
    expect(cache.numUsed).toBe(3);
  });
});

describe("leastStalePolicy", () => {
  /** Three layers of eight units, of which each token uses one, always the same. */
  const cycle = Array.from({ length: 30 }, (_, i) => [8 * (i % 3)]);

  it("hits in a circle that is longer than the slots, where LRU never does", () => {
    const hitsOf = (policy: CachePolicy) => {
      const cache = createNeuronCache({ dFf: 24, nLayers: 3, slotCount: 2, policy });
      admit(cache, ...cycle);
      return cache.counters.hits;
    };
    expect(hitsOf(lruPolicy())).toBe(0);
    // The optimum: two slots, of which one is always for what is missing.
    expect(hitsOf(leastStalePolicy())).toBe(14);
  });

  it("gives up stale units of the layer and of those before it, then used ones, then those of layers to come", () => {
    const cache = createNeuronCache({ dFf: 24, nLayers: 3, slotCount: 6, policy: leastStalePolicy() });
    admit(cache, [0, 1], [8, 9], [16, 17]);
    admit(cache, [0]);
    // In layer 1: 8 and 9 are stale, then 1 of layer 0, then 0, which the token has used, then those of layer 2.
    const left = [[10], [10, 11], [10, 11, 12], [10, 11, 12, 13], [10, 11, 12, 13, 14]].map((set) => {
      const before = residents(cache);
      const fork = createNeuronCache({ dFf: 24, nLayers: 3, slotCount: 6, policy: leastStalePolicy() });
      admit(fork, [0, 1], [8, 9], [16, 17], [0], set);
      return before.filter((unit) => fork.slotOf(unit) < 0);
    });
    expect(left).toEqual([[8], [8, 9], [1, 8, 9], [0, 1, 8, 9], [0, 1, 8, 9, 16]]);
  });

  it("in one layer is LRU", () => {
    const tokens = [[1, 2], [3], [1], [4], [5, 6], [2], [7], [1, 3]];
    for (let n = 1; n <= tokens.length; n++) {
      const some = tokens.slice(0, n);
      expect(residentAfter(leastStalePolicy(), 4, ...some)).toEqual(residentAfter(lruPolicy(), 4, ...some));
    }
  });
});

describe("a pool", () => {
  const pool = (slotCount = 6, policy = lruPolicy()) => createNeuronCache({ dFf: 24, nLayers: 3, slotCount, policy });
  const refusal = (message: string) => expect.objectContaining({ code: "INPUT_INVALID", message });

  it("takes a draft back in all layers that it came to, although later layers were guessed", () => {
    const cache = pool();
    admit(cache, [0], [8], [16]);
    for (const first of [0, 8]) {
      for (const _ of cache.admit([u32(first), u32(first + 1)]));
      cache.anticipate(u32(first + 10), 1);
    }
    cache.retract(1);
    const stamp = (unit: number) => cache.lastKActive[cache.slotOf(unit)];
    expect([0, 8, 16].map(stamp)).toEqual([2, 2, 1]);
    expect([1, 9].map((unit) => cache.slotOf(unit) < 0 || stamp(unit) === 0)).toEqual([true, true]);
    expect(cache.counters).toMatchObject({ tokens: 7, retracted: 2 });
  });

  it("takes nothing back once the next token's first layer was guessed", () => {
    const cache = pool();
    admit(cache, [0], [8], [16]);
    cache.anticipate(u32(1), 1);
    expect(() => cache.retract(1)).toThrowError(expect.objectContaining({ code: "INPUT_INVALID" }));
  });

  it("does not evict for a guess what the layer in progress has named", () => {
    const cache = pool(2);
    admit(cache, [0, 1]);
    expect(cache.anticipate(u32(8, 9), 2).neurons.length).toBe(0);
    expect(residents(cache)).toEqual([0, 1]);
  });

  it("keeps its own copy of what is named, so that the caller may use one buffer for all layers", () => {
    const cache = pool();
    const named = new Uint32Array(1);
    for (const unit of [0, 8, 16]) {
      named[0] = unit;
      for (const _ of cache.admit([named]));
    }
    cache.retract(1);
    expect([...cache.lastKActive.subarray(0, 3)]).toEqual([0, 0, 0]);
  });

  it("is seeded with sets of all layers", () => {
    const cache = pool(4);
    cache.seed([u32(1, 9), u32(0, 8, 16)]);
    expect(residents(cache)).toEqual([0, 8, 9, 16]);
    admit(cache, [2], [10]);
    expect(residents(cache)).toEqual([2, 8, 10, 16]);
  });

  it.each([
    [
      "units of two layers",
      [u32(7, 8)],
      undefined,
      "named[0] names unit 8 of layer 1, expected layer 0; admit a pool's layers one by one",
    ],
    [
      "sets of two layers",
      [u32(7), u32(8)],
      undefined,
      "named[1] names unit 8 of layer 1, expected layer 0; admit a pool's layers one by one",
    ],
    [
      "units of another layer than is said",
      [u32(7)],
      1,
      "named[0] names unit 7 of layer 0, expected layer 1; admit a pool's layers one by one",
    ],
    ["a layer that it has not", [u32()], 3, "a neuron cache admits layer 3, expected one of its 3"],
  ])("refuses %s", (_, sets, layer, message) => {
    expect(() => [...pool().admit(sets, layer)]).toThrowError(refusal(message));
  });

  it("refuses another number of tokens before the next token begins", () => {
    const cache = pool();
    admit(cache, [0]);
    expect(() => [...cache.admit([u32(8), u32(9)])]).toThrowError(
      refusal("layer 1 of a pool is admitted with sets of 2 tokens, expected 1 as of the layer before"),
    );
    expect([...cache.admit([u32(1), u32(2)])]).toHaveLength(1);
  });

  it.each([
    [24, 5, "neuron cache: 6 slots for 24 neurons of 5 layers, expected as many of each layer"],
    [24, 0, "neuron cache: 6 slots for 24 neurons of 0 layers, expected integers of at least 1"],
  ])("refuses %s units of %s layers", (dFf, nLayers, message) => {
    expect(() => createNeuronCache({ dFf, nLayers, slotCount: 6, policy: lruPolicy() })).toThrowError(refusal(message));
  });
});
