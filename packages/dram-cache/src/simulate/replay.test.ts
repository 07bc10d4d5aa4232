import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CachePolicy } from "../cache-policy.js";
import { lruPolicy } from "../lru-policy.js";
import { frequencyPinnedPolicy, pinnedPolicy } from "../pinned-policy.js";
import { createNeuronCache } from "../slot-cache.js";
import { windowPolicy } from "../window-policy.js";
import { clairvoyantPolicy } from "./clairvoyant.js";
import { replayTrace } from "./replay.js";
import { FIXTURE_D_FF, oneLayer, randomTraces } from "./traces.fixture.js";

describe("replayTrace", () => {
  it("counts the bytes of misses, and the window that the slots held", () => {
    const trace = oneLayer(8, [1, 2], [2, 3], [4]);
    const result = replayTrace(trace, { slots: 3, policy: lruPolicy, slotBytes: 1024 });
    expect(result).toMatchObject({
      total: { tokens: 3, named: 5, hits: 1, misses: 4, evicted: 1 },
      flashBytesByLayer: [4096],
      flashBytes: 4096,
      meanWindowTokens: [(1 + 2 + 2) / 3],
    });
  });
  it("replays each layer with its own slots and policy, as a cache that is asked token by token", () => {
    fc.assert(
      fc.property(randomTraces(12), fc.integer({ min: 1, max: 20 }), (trace, slots) => {
        const slotsByLayer = Array.from({ length: trace.nLayers }, (_, layer) => slots + layer);
        const policy = (layer: number) => windowPolicy(layer + 1);
        const { layers, total } = replayTrace(trace, { slots: slotsByLayer, policy, slotBytes: 1 });
        for (const [layer, slotCount] of slotsByLayer.entries()) {
          const cache = createNeuronCache({ dFf: trace.dFf, slotCount, policy: policy(layer) });
          for (const sets of trace.tokens) for (const _ of cache.admit(sets[layer]!));
          expect(layers[layer]).toEqual(cache.counters);
        }
        expect(total.misses).toBe(layers.reduce((sum, { misses }) => sum + misses, 0));
      }),
    );
  });
  it.each([
    ["slots of another number of layers", oneLayer(8, [1]), [4, 4]],
    ["a trace that is not one", oneLayer(8, [9]), 4],
  ])("refuses %s", (_, trace, slots) => {
    expect(() => replayTrace(trace, { slots, policy: lruPolicy, slotBytes: 1 })).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID" }),
    );
  });
});

describe("clairvoyantPolicy", () => {
  const missesOf = (trace: Parameters<typeof replayTrace>[0], slots: number, policy: (layer: number) => CachePolicy) =>
    replayTrace(trace, { slots, policy, slotBytes: 1 }).total.misses;

  it("gives up what is needed last", () => {
    const trace = oneLayer(8, [1, 2], [3], [1], [2]);
    expect(missesOf(trace, 2, (layer) => clairvoyantPolicy(trace, layer))).toBe(4);
    expect(missesOf(trace, 2, lruPolicy)).toBe(5);
  });
  it("misses no more than any other policy, where every token fits the slots", () => {
    const slotCounts = fc.integer({ min: 12, max: 40 });
    fc.assert(
      fc.property(randomTraces(12), slotCounts, fc.integer({ min: 1, max: 6 }), (trace, slots, k) => {
        const best = missesOf(trace, slots, (layer) => clairvoyantPolicy(trace, layer));
        const others = [
          lruPolicy,
          () => windowPolicy(k),
          () => pinnedPolicy([1, 2, 3], k),
          () => frequencyPinnedPolicy(FIXTURE_D_FF, 0.3, k),
        ];
        for (const policy of others) expect(best).toBeLessThanOrEqual(missesOf(trace, slots, policy));
      }),
    );
  });
  it("misses no more than any order of eviction, on traces small enough to try them all", () => {
    const set = fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 2 }).map((neurons) => neurons.sort());
    fc.assert(
      fc.property(fc.array(set, { maxLength: 7 }), (sets) => {
        const trace = oneLayer(5, ...sets);
        const best = missesOf(trace, 3, (layer) => clairvoyantPolicy(trace, layer));
        expect(best).toBe(leastMisses(sets, 3));
      }),
      { numRuns: 60 },
    );
  });
});

/** The least number of misses that any choice of victims reaches. */
function leastMisses(sets: readonly (readonly number[])[], slots: number, resident: readonly number[] = []): number {
  const [set, ...later] = sets;
  if (set === undefined) return 0;
  const misses = set.filter((neuron) => !resident.includes(neuron)).length;
  const others = resident.filter((neuron) => !set.includes(neuron));
  const kept = subsets(others).filter((some) => some.length + set.length <= slots);
  return misses + Math.min(...kept.map((some) => leastMisses(later, slots, [...set, ...some])));
}

function subsets(items: readonly number[]): number[][] {
  const [item, ...rest] = items;
  if (item === undefined) return [[]];
  return subsets(rest).flatMap((some) => [some, [item, ...some]]);
}
