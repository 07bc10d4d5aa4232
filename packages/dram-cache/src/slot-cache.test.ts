import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type CachePolicy,
  frequencyPinnedPolicy,
  lruPolicy,
  mostFrequent,
  pinnedPolicy,
  windowPolicy,
} from "./cache-policy.js";
import type { CacheWave, NeuronCache } from "./plan.js";
import { createNeuronCache } from "./slot-cache.js";

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
  it("pins what it is told to", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: pinnedPolicy([5], 1) });
    admit(cache, 4, 5);
    admit(cache, 1, 2);
    expect(residents(cache)).toEqual([1, 2, 5]);
    admit(cache, 1, 2, 3);
    expect(residents(cache)).toEqual([1, 2, 3]);
  });
  it("pins what most tokens use, once it has seen enough of them", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: frequencyPinnedPolicy(16, 0.5, 1) });
    for (let t = 0; t < 8; t++) admit(cache, 3, 4 + t);
    admit(cache, 10, 11);
    expect(residents(cache)).toEqual([3, 10, 11]);
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

it("mostFrequent pins by falling frequency, never what was not used", () => {
  expect(mostFrequent([0, 5, 1, 5, 0], 9)).toEqual([1, 3, 2]);
});

/** A slow, obvious model: sets and maps. */
class ObviousCache {
  readonly last = new Map<number, number>();
  token = 0;

  constructor(
    readonly slotCount: number,
    readonly policy: CachePolicy,
  ) {}

  /** Hits of a set that fits the slots. */
  admit(named: readonly number[]): number {
    this.token++;
    const hits = named.filter((neuron) => this.last.has(neuron)).length;
    for (const neuron of named) this.last.set(neuron, this.token);
    const others = [...this.last.keys()].filter((neuron) => !named.includes(neuron));
    const pinned = (neuron: number) => this.policy.isPinned?.(neuron) ?? false;
    for (const neuron of others) {
      if (!pinned(neuron) && this.token - this.last.get(neuron)! >= this.policy.windowTokens) this.last.delete(neuron);
    }
    const order = [...this.last.keys()]
      .filter((neuron) => !named.includes(neuron))
      .sort((a, b) => Number(pinned(a)) - Number(pinned(b)) || this.last.get(a)! - this.last.get(b)! || a - b);
    while (this.last.size > this.slotCount) this.last.delete(order.shift()!);
    return hits;
  }
}

const D_FF = 24;
const setOf = (maxLength: number) =>
  fc.uniqueArray(fc.nat(D_FF - 1), { maxLength }).map((set) => Uint32Array.from(set).sort());
const policies = fc.oneof(
  fc.integer({ min: 1, max: 5 }).map(windowPolicy),
  fc.constant(windowPolicy(Number.POSITIVE_INFINITY)),
  fc.constant(lruPolicy()),
  fc
    .tuple(fc.uniqueArray(fc.nat(D_FF - 1), { maxLength: 6 }), fc.integer({ min: 1, max: 4 }))
    .map(([pinned, window]) => pinnedPolicy(pinned, window)),
);

describe("random traces", () => {
  it("agree with an obvious model: same residents, same hits", () => {
    fc.assert(
      fc.property(policies, fc.array(setOf(10), { maxLength: 30 }), (policy, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount: 10, policy });
        const model = new ObviousCache(10, policy);
        for (const set of trace) {
          const before = cache.counters.hits;
          for (const _ of cache.admit(set));
          expect(cache.counters.hits - before).toBe(model.admit([...set]));
          expect(residents(cache)).toEqual([...model.last.keys()].sort((a, b) => a - b));
        }
      }),
    );
  });

  it("executed on a memory of neuron numbers, leave every wave's neurons in its slots", () => {
    const slotCounts = fc.integer({ min: 1, max: D_FF + 3 });
    fc.assert(
      fc.property(policies, slotCounts, fc.array(setOf(D_FF), { maxLength: 20 }), (policy, slotCount, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy });
        const memory = new Int32Array(cache.slotCount).fill(-1);
        const execute = ({ neurons, slots, hits, misses, moves }: CacheWave) => {
          for (let i = 0; i < moves.length; i += 2) memory[moves[i + 1]!] = memory[moves[i]!]!;
          for (const i of hits) expect(memory[slots[i]!]).toBe(neurons[i]);
          for (const i of misses) memory[slots[i]!] = neurons[i]!;
          expect([...slots].map((slot) => memory[slot])).toEqual([...neurons]);
          expect(new Set(slots).size).toBe(slots.length);
          expect(hits.length + misses.length).toBe(neurons.length);
        };
        if (trace.length > 3) execute(cache.seed(trace.slice(0, 3)));
        for (const set of trace) {
          const seen: number[] = [];
          for (const wave of cache.admit(set)) {
            execute(wave);
            seen.push(...wave.neurons);
            expect(cache.numUsed).toBeLessThanOrEqual(cache.slotCount);
            for (let slot = 0; slot < cache.numUsed; slot++) {
              expect(cache.slotOf(cache.pointer[slot]!)).toBe(slot);
              expect(memory[slot]).toBe(cache.pointer[slot]);
            }
          }
          expect(seen).toEqual([...set]);
        }
        const { hits, misses, named } = cache.counters;
        expect(hits + misses).toBe(named);
      }),
    );
  });
});
