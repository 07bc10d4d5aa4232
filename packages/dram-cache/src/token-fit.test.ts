import { isFlashwickError } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CachePolicy } from "./cache-policy.js";
import { leastStalePolicy } from "./least-stale-policy.js";
import { lfuPolicy } from "./lfu-policy.js";
import { lruPolicy } from "./lru-policy.js";
import { createNeuronCache } from "./slot-cache.js";
import { misfitError, tokenFit } from "./token-fit.js";
import { windowPolicy } from "./window-policy.js";

const N = 8;

/** Hits of a pool over tokens that all use the same units. */
function hitsOf(policy: CachePolicy, nLayers: number, topK: number, slots: number): number {
  const cache = createNeuronCache({ dFf: nLayers * N, nLayers, slotCount: slots, policy });
  for (let token = 0; token < 5; token++) {
    for (let layer = 0; layer < nLayers; layer++) {
      for (const _ of cache.admit(Uint32Array.from({ length: topK }, (_, i) => layer * N + i)));
    }
  }
  return cache.counters.hits;
}

const geometries = fc.record({ nLayers: fc.integer({ min: 2, max: 6 }), topK: fc.integer({ min: 1, max: 4 }) });

describe("tokenFit", () => {
  it("finds a pool by age alone large enough exactly where all hits that tokens repeat; a layer less, and nothing does", () => {
    fc.assert(
      fc.property(geometries, fc.integer({ min: 4, max: 26 }), ({ nLayers, topK }, slots) => {
        for (const policy of [lruPolicy(), windowPolicy(3)]) {
          const { fits, neededSlots, tokenSlots } = tokenFit({ topK, nLayers, slots, policy });
          expect([neededSlots, tokenSlots]).toEqual([topK * nLayers, topK * nLayers]);
          const hits = hitsOf(policy, nLayers, topK, slots);
          expect(hits === 4 * topK * nLayers).toBe(fits);
          if (slots <= topK * (nLayers - 1)) expect(hits).toBe(0);
        }
      }),
    );
  });

  it("finds a pool by least-stale or lfu too small only below one layer's units", () => {
    fc.assert(
      fc.property(geometries, ({ nLayers, topK }) => {
        for (const policy of [leastStalePolicy(), lfuPolicy()]) {
          expect(tokenFit({ topK, nLayers, slots: topK, policy })).toMatchObject({ fits: true, neededSlots: topK });
          expect(tokenFit({ topK, nLayers, slots: topK - 1, policy }).fits).toBe(false);
          expect(hitsOf(policy, nLayers, topK, topK + 1)).toBeGreaterThan(0);
        }
      }),
    );
  });

  it("wants a layer's units at once in a layer's cache, whatever the policy", () => {
    for (const policy of [lruPolicy(), lfuPolicy()]) {
      expect(tokenFit({ topK: 4, nLayers: 1, slots: 4, policy }).fits).toBe(true);
      expect(tokenFit({ topK: 4, nLayers: 1, slots: 3, policy }).fits).toBe(false);
    }
  });
});

describe("misfitError", () => {
  it("says what a pool lacks, and the smallest budget", () => {
    const error = misfitError(tokenFit({ topK: 8, nLayers: 16, slots: 100, policy: lruPolicy() }), 2 ** 20, 2 ** 30);
    expect(isFlashwickError(error)).toBe(true);
    expect(error.message).toBe(
      "the expert cache of 16 layers has room for 100 experts, expected 128 at least: a token uses 128 experts, and lru evicts " +
        "each before its layer comes again, so that little or nothing hits; set dramBudgetBytes to 1207959552 (1.13 GiB) or more, " +
        "or choose the policy least-stale",
    );
    expect(error).toMatchObject({
      code: "BUDGET_TOO_SMALL",
      details: { slots: 100, neededSlots: 128, smallestBudgetBytes: 2 ** 30 + 128 * 2 ** 20 },
    });
  });

  it("says what a layer lacks", () => {
    const error = misfitError(tokenFit({ topK: 8, nLayers: 1, slots: 6, policy: lfuPolicy() }), 1000, 500);
    expect(error.message).toBe(
      "the expert cache of a layer has room for 6 experts, expected 8 at least: a token uses 8 experts of a layer at once; " +
        "set dramBudgetBytes to 8500 (8.30 KiB) or more",
    );
  });
});
