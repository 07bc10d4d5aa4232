/** The optimum: against every choice there is on small traces, and against every policy on larger ones. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CachePolicy } from "../cache-policy.js";
import { leastStalePolicy } from "../least-stale-policy.js";
import { lfuPolicy } from "../lfu-policy.js";
import { lruPolicy } from "../lru-policy.js";
import { frequencyPinnedPolicy, pinnedPolicy } from "../pinned-policy.js";
import { s3FifoPolicy } from "../s3-fifo-policy.js";
import { windowPolicy } from "../window-policy.js";
import { clairvoyantMisses } from "./clairvoyant.js";
import { replayTrace } from "./replay.js";
import { FIXTURE_D_FF, oneLayer, randomTraces } from "./traces.fixture.js";

describe("clairvoyantMisses", () => {
  it("gives up what is needed last", () => {
    const trace = oneLayer(8, [1, 2], [3], [1], [2]);
    expect(clairvoyantMisses(trace, 0, 2).map((misses) => [...misses])).toEqual([[1, 2], [3], [], [2]]);
    expect(replayTrace(trace, { slots: 2, policy: lruPolicy, slotBytes: 1 }).total.misses).toBe(5);
  });
  it("misses as little as the best choice of victims, on traces small enough to try them all", () => {
    const set = fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 3 }).map((neurons) => neurons.sort());
    fc.assert(
      fc.property(fc.array(set, { maxLength: 6 }), fc.integer({ min: 1, max: 4 }), (sets, slots) => {
        const misses = clairvoyantMisses(oneLayer(5, ...sets), 0, slots);
        expect(misses.flatMap((some) => [...some]).length).toBe(leastMisses(sets.flat(), slots));
      }),
      { numRuns: 100 },
    );
  });
  it("misses no more than any policy of a layer's cache, whether tokens fit the slots or pass in waves", () => {
    fc.assert(
      fc.property(
        randomTraces(12),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 6 }),
        (trace, slots, k) => {
          const policies: (() => CachePolicy)[] = [
            lruPolicy,
            () => windowPolicy(k),
            () => windowPolicy("auto"),
            () => pinnedPolicy([1, 2, 3], k),
            () => frequencyPinnedPolicy(FIXTURE_D_FF, 0.3, k),
            () => lfuPolicy(),
            s3FifoPolicy,
            leastStalePolicy,
          ];
          const least = Array.from({ length: trace.nLayers }, (_, layer) =>
            clairvoyantMisses(trace, layer, slots).reduce((sum, { length }) => sum + length, 0),
          );
          for (const policy of policies) {
            const { layers } = replayTrace(trace, { slots, policy, slotBytes: 1 });
            for (const [layer, { misses }] of layers.entries()) expect(least[layer]).toBeLessThanOrEqual(misses);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
  it.each([
    ["a layer that is not there", 1, 4],
    ["no slots", 0, 0],
  ])("refuses %s", (_, layer, slots) => {
    expect(() => clairvoyantMisses(oneLayer(8, [1]), layer, slots)).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID" }),
    );
  });
});

/** The least number of misses that any choice of victims reaches. */
function leastMisses(uses: readonly number[], slots: number, resident: readonly number[] = []): number {
  const [use, ...later] = uses;
  if (use === undefined) return 0;
  if (resident.includes(use)) return leastMisses(later, slots, resident);
  if (resident.length < slots) return 1 + leastMisses(later, slots, [...resident, use]);
  const kept = resident.map((victim) => resident.filter((neuron) => neuron !== victim));
  return 1 + Math.min(...kept.map((some) => leastMisses(later, slots, [...some, use])));
}
