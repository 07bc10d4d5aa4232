import { describe, expect, it } from "vitest";
import { lfuPolicy } from "./lfu-policy.js";
import { lruPolicy } from "./lru-policy.js";
import { createNeuronCache } from "./slot-cache.js";
import { layerSeeds, poolSeeds, profileOfTrace, profileOfUses } from "./unit-profile.js";

const FINGERPRINT = "a".repeat(64);
const profile = profileOfUses(FINGERPRINT, [
  [0, 5, 1, 5],
  [2, 0, 3, 0],
]);

const arrays = (sets: readonly Uint32Array[]) => sets.map((set) => [...set]);

describe("a profile", () => {
  it("lists what was used, hottest first, the lower among equals", () => {
    expect(arrays(profile.hottest)).toEqual([
      [1, 3, 2],
      [2, 0],
    ]);
  });

  it("of a trace is that of its counts", () => {
    const tokens = [
      [1, 3],
      [1, 2, 3],
      [0, 3],
    ].map((set) => [Uint32Array.from(set), Uint32Array.from([2])]);
    const { hottest } = profileOfTrace(FINGERPRINT, { nLayers: 2, dFf: 4, tokens });
    expect(arrays(hottest)).toEqual([[3, 1, 0, 2], [2]]);
  });

  it("becomes seeds of a layer: sets of so many, the hottest last", () => {
    expect(arrays(layerSeeds(profile, 0, 9, 2))).toEqual([[2], [1, 3]]);
    expect(arrays(layerSeeds(profile, 0, 1, 2))).toEqual([[1]]);
    expect(layerSeeds(profile, 0, 0, 2)).toEqual([]);
  });

  it("becomes seeds of a pool: each layer's hottest units before any layer's next", () => {
    expect(arrays(poolSeeds(profile, 4, 1))).toEqual([
      [3, 4],
      [1, 6],
    ]);
    expect(arrays(poolSeeds(profile, 9, 1)).flat()).toHaveLength(5);
  });

  it("seeds a cache so that the coldest leave first", () => {
    for (const policy of [lruPolicy(), lfuPolicy()]) {
      const cache = createNeuronCache({ dFf: 4, slotCount: 3, policy });
      cache.seed(layerSeeds(profile, 0, 3, 1));
      for (const _ of cache.admit(Uint32Array.of(0)));
      expect([0, 1, 2, 3].map((unit) => cache.slotOf(unit) >= 0)).toEqual([true, true, false, true]);
    }
  });

  it("seeds a pool with as many as it holds", () => {
    const cache = createNeuronCache({ dFf: 8, nLayers: 2, slotCount: 4, policy: lfuPolicy() });
    const { misses } = cache.seed(poolSeeds(profile, 4, 1));
    expect([misses.length, [...cache.pointer].sort((a, b) => a - b)]).toEqual([4, [1, 3, 4, 6]]);
  });

  it.each([
    ["no layers", []],
    ["layers of several widths", [[1, 2], [1]]],
    ["layers of no units", [[], []]],
  ])("refuses %s", (_, uses) => {
    expect(() => profileOfUses(FINGERPRINT, uses)).toThrowError(expect.objectContaining({ code: "INPUT_INVALID" }));
  });
});
