import { describe, expect, it } from "vitest";
import { lruPolicy } from "./lru-policy.js";
import { frequencyPinnedPolicy, mostFrequent, pinnedPolicy } from "./pinned-policy.js";
import type { CacheWave, NeuronCache } from "./plan.js";
import { createNeuronCache } from "./slot-cache.js";
import { windowPolicy } from "./window-policy.js";

const u32 = (...values: number[]) => Uint32Array.from(values);
const copy = ({ neurons, slots, hits, misses, moves, evicted }: CacheWave) => ({
  neurons: [...neurons],
  slots: [...slots],
  hits: [...hits],
  misses: [...misses],
  moves: [...moves],
  evicted,
});
const admit = (cache: NeuronCache, ...named: number[]) => [...mapWaves(cache, u32(...named), copy)];

function* mapWaves<T>(cache: NeuronCache, named: Uint32Array, map: (wave: CacheWave) => T): Generator<T> {
  for (const wave of cache.admit(named)) yield map(wave);
}

const residents = (cache: NeuronCache) => [...cache.pointer.subarray(0, cache.numUsed)].sort((a, b) => a - b);

describe("a cache of one layer", () => {
  it("gives ascending neurons ascending slots, so that neighbours land together", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: lruPolicy() });
    expect(admit(cache, 3, 4, 5)[0]).toMatchObject({ slots: [0, 1, 2], misses: [0, 1, 2], hits: [] });
    expect(admit(cache, 1, 4, 9)[0]).toMatchObject({ slots: [3, 1, 4], misses: [0, 2], hits: [1] });
  });
  it("puts a loaded neuron into an evicted slot (paired replacement)", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: windowPolicy(1) });
    admit(cache, 1, 2, 3);
    expect(admit(cache, 2, 7, 8)[0]).toMatchObject({ slots: [1, 0, 2], moves: [], evicted: 2 });
  });
  it("fills surplus holes from the tail", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: windowPolicy(1) });
    admit(cache, 1, 2, 3, 4, 5);
    // 1 and 3 leave slots 0 and 2; 9 takes slot 0, and 5 moves from the tail to slot 2.
    expect(admit(cache, 2, 4, 5, 9)[0]).toMatchObject({ slots: [1, 3, 2, 0], moves: [4, 2], evicted: 2 });
    expect(cache.numUsed).toBe(4);
  });
  it("needs no move for holes at the tail", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: windowPolicy(1) });
    admit(cache, 1, 2, 3, 4, 5);
    expect(admit(cache, 1, 2)[0]).toMatchObject({ slots: [0, 1], moves: [], evicted: 3 });
    expect(cache.numUsed).toBe(2);
  });
  it("streams in ascending waves when the set exceeds the slots", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: lruPolicy() });
    const waves = admit(cache, 1, 2, 3, 4, 5, 6, 7);
    expect(waves.map(({ neurons }) => neurons)).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
    expect(cache.counters).toMatchObject({ tokens: 1, named: 7, misses: 7, extraWaves: 2 });
  });
  it("keeps what a later wave of the same token needs", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: lruPolicy() });
    admit(cache, 7, 8);
    // The first wave has one free slot and needs three: 8, the farthest, goes first, then 7.
    const waves = admit(cache, 1, 2, 7, 8);
    expect(waves[0]).toMatchObject({ neurons: [1, 2, 7], hits: [2] });
  });
  it("keeps what is pinned, past the window and under pressure, where the token then passes in waves", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: pinnedPolicy([5], 1) });
    admit(cache, 4, 5);
    admit(cache, 1, 2);
    expect(residents(cache)).toEqual([1, 2, 5]);
    expect(admit(cache, 1, 2, 3).map(({ neurons }) => neurons)).toEqual([[1, 2], [3]]);
    expect(residents(cache)).toEqual([2, 3, 5]);
  });
  it("gives up pinned neurons that would leave waves less than a quarter of the slots", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 1, policy: pinnedPolicy([5], 1) });
    admit(cache, 5);
    expect(admit(cache, 1, 2)).toMatchObject([{ neurons: [1] }, { neurons: [2] }]);
    expect(residents(cache)).toEqual([2]);
  });
  it("pins what most tokens use, once it has seen enough of them", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: frequencyPinnedPolicy(16, 0.5, 1) });
    for (let t = 0; t < 8; t++) admit(cache, 3, 4 + t);
    admit(cache, 10, 11);
    expect(residents(cache)).toEqual([3, 10, 11]);
  });
  it("counts uses of seeded tokens too, when it pins by use", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: frequencyPinnedPolicy(16, 0.5, 1) });
    cache.seed(Array.from({ length: 8 }, (_, t) => u32(3, 4 + t)));
    admit(cache, 10, 11);
    expect(residents(cache)).toEqual([3, 10, 11]);
  });
  it("says how far pressure has shrunk the window", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: windowPolicy(3) });
    const windows = [[1, 2], [3], [4, 5], [4], [4], [1, 2, 3, 4, 5], [8]].map((named) => {
      admit(cache, ...named);
      return cache.effectiveWindowTokens;
    });
    // [4, 5] takes the place of 1, so that the first token is no longer held; the set of five is not held itself.
    expect(windows).toEqual([1, 2, 2, 3, 3, 0, 1]);
  });
  it("takes the lower neuron first among equally old ones", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
    admit(cache, 2, 4, 9);
    admit(cache, 7);
    admit(cache, 11);
    expect(residents(cache)).toEqual([4, 7, 9, 11]);
  });
  it("holds a whole layer after one token, where it fits", () => {
    const cache = createNeuronCache({ dFf: 64, slotCount: 64, policy: windowPolicy(1) });
    const all = Uint32Array.from({ length: 64 }, (_, i) => i);
    for (const { slots } of cache.admit(all)) expect([...slots]).toEqual([...all]);
    for (const { hits } of cache.admit(all)) expect(hits.length).toBe(64);
  });
  it("expires the window also when a token names nothing", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: windowPolicy(2) });
    admit(cache, 1);
    admit(cache);
    expect(residents(cache)).toEqual([1]);
    expect(admit(cache)).toMatchObject([{ neurons: [], evicted: 1 }]);
    expect(residents(cache)).toEqual([]);
  });
  it("lands neighbours together although other vacant slots come first", () => {
    const cache = createNeuronCache({ dFf: 32, slotCount: 8, policy: windowPolicy(2) });
    admit(cache, 0, 1, 2, 3, 4, 5, 6, 7);
    admit(cache, 1, 3, 4, 5);
    // 0, 2, 6 and 7 leave the slots of the same numbers.
    expect(admit(cache, 10, 20, 21, 30)[0]).toMatchObject({ slots: [0, 6, 7, 2], moves: [] });
  });
  it("forgets everything but its counters", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
    admit(cache, 1, 2);
    cache.clear();
    expect([cache.numUsed, cache.slotOf(1), cache.effectiveWindowTokens, cache.counters.misses]).toEqual([0, -1, 0, 2]);
    expect(admit(cache, 1)[0]).toMatchObject({ slots: [0], misses: [0] });
  });
  it("never replaces its arrays", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
    const { pointer, lastKActive } = cache;
    for (let t = 0; t < 9; t++) admit(cache, t, t + 3, t + 4);
    cache.seed([u32(1, 2)]);
    cache.clear();
    expect([cache.pointer === pointer, cache.lastKActive === lastKActive]).toEqual([true, true]);
  });
  it("works with slot numbers beyond sixteen bits", () => {
    const dFf = 70000;
    const cache = createNeuronCache({ dFf, slotCount: dFf, policy: windowPolicy("auto") });
    const all = Uint32Array.from({ length: dFf }, (_, i) => i);
    for (const _ of cache.admit(all));
    expect(cache.slotOf(dFf - 1)).toBe(dFf - 1);
  });
  it("is seeded with the newest sets first, and goes on from there", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: windowPolicy(2) });
    const { neurons, slots, misses } = cache.seed([u32(1, 2), u32(9, 10), u32(3, 9, 12)]);
    expect([[...neurons], [...slots], [...misses]]).toEqual([
      [3, 9, 10, 12],
      [0, 1, 2, 3],
      [0, 1, 2, 3],
    ]);
    expect(cache.counters).toMatchObject({ seeded: 4, misses: 0 });
    admit(cache, 9);
    expect(residents(cache)).toEqual([3, 9, 12]);
  });
});

describe("what is refused", () => {
  const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
  it.each([
    ["unsorted", [3, 2], "named[1] is 2, expected a neuron above 3 and below 16"],
    ["repeated", [3, 3], "named[1] is 3, expected a neuron above 3 and below 16"],
    ["beyond the layer", [16], "named[0] is 16, expected a neuron below 16"],
  ])("a set that is %s, before anything changes", (_, named, message) => {
    expect(() => admit(cache, ...named)).toThrow(message);
    expect(() => cache.seed([u32(1), u32(...named)])).toThrow(message.replace("named", "sets[1]"));
    expect(cache.counters).toMatchObject({ tokens: 0, named: 0, seeded: 0 });
  });
  it.each([
    ["no slots", { dFf: 16, slotCount: 0 }],
    ["no neurons", { dFf: 0, slotCount: 1 }],
    ["half a slot", { dFf: 16, slotCount: 1.5 }],
  ])("a cache of %s", (_, sizes) => {
    expect(() => createNeuronCache({ ...sizes, policy: lruPolicy() })).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID" }),
    );
  });
  it.each([0, -1, 1.5, Number.NaN])("a window of %s tokens", (windowTokens) => {
    expect(() => windowPolicy(windowTokens)).toThrowError(expect.objectContaining({ code: "INPUT_INVALID" }));
  });
});

it("mostFrequent pins by falling frequency, never what was not used", () => {
  expect(mostFrequent([0, 5, 1, 5, 0], 9)).toEqual([1, 3, 2]);
});
