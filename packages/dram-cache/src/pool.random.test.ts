/** Pools of several layers: random tokens against the obvious model, and against each layer's own cache. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CachePolicy } from "./cache-policy.js";
import { leastStalePolicy } from "./least-stale-policy.js";
import { lfuPolicy } from "./lfu-policy.js";
import { lruPolicy } from "./lru-policy.js";
import { ObviousCache } from "./obvious-cache.fixture.js";
import { HALVE_AFTER } from "./obvious-orders.fixture.js";
import { frequencyPinnedPolicy, pinnedPolicy } from "./pinned-policy.js";
import type { NeuronCache } from "./plan.js";
import { s3FifoPolicy } from "./s3-fifo-policy.js";
import { createNeuronCache } from "./slot-cache.js";
import { SlotMemory } from "./slot-memory.fixture.js";
import { windowPolicy } from "./window-policy.js";

/** Units of each layer. */
const N = 6;
const MOST_LAYERS = 4;
type MakePolicy = () => CachePolicy;
const windows = fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant("auto" as const));
const pinnedSets = fc.uniqueArray(fc.nat(MOST_LAYERS * N - 1), { maxLength: 6 });
const policies: fc.Arbitrary<MakePolicy> = fc.oneof(
  windows.map((k) => () => windowPolicy(k)),
  fc.constantFrom(lruPolicy, () => lfuPolicy(HALVE_AFTER), s3FifoPolicy, leastStalePolicy),
  fc.tuple(pinnedSets, windows).map(
    ([pinned, k]) =>
      () =>
        pinnedPolicy(pinned, k),
  ),
  windows.map((k) => () => frequencyPinnedPolicy(MOST_LAYERS * N, 0.4, k, MOST_LAYERS)),
);
const slotCounts = fc.integer({ min: 1, max: MOST_LAYERS * N + 2 });

/** A layer's sets, one of each token of a step, as units of the layer; and what is guessed of the next layer before. */
interface LayerStep {
  readonly sets: readonly (readonly number[])[];
  readonly guess: readonly number[] | null;
}
interface PoolStep {
  readonly layers: readonly LayerStep[];
  readonly rejected: number;
}

const setOf = (layer: number, maxLength = N) =>
  fc.uniqueArray(fc.nat(N - 1), { maxLength }).map((set) => set.map((unit) => layer * N + unit).sort((a, b) => a - b));

/** Most steps go through all layers; some are given up half-way. */
function stepOf(nLayers: number, maxSet = N): fc.Arbitrary<PoolStep> {
  const shape = fc.record({ tokens: fc.integer({ min: 1, max: 3 }), depth: fc.nat(2 * nLayers) });
  return shape.chain(({ tokens, depth }) => {
    const count = depth > nLayers ? nLayers : Math.max(1, depth);
    const layers = Array.from({ length: count }, (_, layer) =>
      fc.record({
        sets: fc.array(setOf(layer, maxSet), { minLength: tokens, maxLength: tokens }),
        guess: fc.option(setOf(layer), { freq: 3 }),
      }),
    );
    return fc.record({ layers: fc.tuple(...layers), rejected: fc.nat(tokens) });
  });
}

const pools = fc
  .integer({ min: 2, max: MOST_LAYERS })
  .chain((nLayers) =>
    fc.record({ nLayers: fc.constant(nLayers), steps: fc.array(stepOf(nLayers), { maxLength: 12 }) }),
  );

const inLayers = ({ layers }: PoolStep) => layers.map(({ sets }, layer) => ({ sets, layer }));
const u32 = (set: readonly number[]) => Uint32Array.from(set);
const residents = (cache: NeuronCache) => [...cache.pointer.subarray(0, cache.numUsed)].sort((a, b) => a - b);
const stampsOf = (cache: NeuronCache) =>
  new Map(residents(cache).map((unit) => [unit, cache.lastKActive[cache.slotOf(unit)]!]));

function expectToAgree(cache: NeuronCache, model: ObviousCache): void {
  expect(stampsOf(cache)).toEqual(new Map(model.neurons.map((unit) => [unit, model.resident.get(unit)])));
  expect(cache.effectiveWindowTokens).toBe(model.effectiveWindowTokens);
}

describe("a pool", () => {
  it("agrees with the obvious model, whatever is named, guessed, given up and taken back", () => {
    fc.assert(
      fc.property(policies, slotCounts, pools, (makePolicy, slotCount, { nLayers, steps }) => {
        const dFf = nLayers * N;
        const cache = createNeuronCache({ dFf, nLayers, slotCount, policy: makePolicy() });
        const model = new ObviousCache(Math.min(slotCount, dFf), makePolicy(), nLayers, N);
        const memory = new SlotMemory(cache.slotCount);
        for (const { layers, rejected } of steps) {
          for (const [layer, { sets, guess }] of layers.entries()) {
            if (guess) {
              const wave = cache.anticipate(u32(guess), 3);
              memory.execute(wave);
              expect([...wave.neurons]).toEqual(model.anticipate(guess, 3));
            }
            const before = residents(cache);
            const waves = Array.from(cache.admit(sets.map(u32), layer), (wave) => {
              memory.execute(wave);
              const misses = Array.from(wave.misses, (i) => wave.neurons[i]!);
              return { neurons: [...wave.neurons], misses, evicted: wave.evicted };
            });
            expect(waves, `from ${before}`).toEqual(
              model
                .admit(sets, layer)
                .map(({ neurons, misses, evicted }) => ({ neurons, misses, evicted: evicted.length })),
            );
            expectToAgree(cache, model);
          }
          cache.retract(rejected);
          model.retract(rejected);
          expectToAgree(cache, model);
        }
        memory.expectToHold(cache, dFf);
        const { hits, misses, named, evicted, anticipated } = cache.counters;
        expect([hits + misses, misses + anticipated - evicted]).toEqual([named, cache.numUsed]);
      }),
      { numRuns: 600 },
    );
  });

  it("keeps all members of an admit that fit, whatever the policy, unless pinned units cut it into waves", () => {
    fc.assert(
      fc.property(policies, slotCounts, pools, (makePolicy, slotCount, { nLayers, steps }) => {
        const policy = makePolicy();
        const cache = createNeuronCache({ dFf: nLayers * N, nLayers, slotCount, policy });
        for (const { sets, layer } of steps.flatMap(inLayers)) {
          const union = [...new Set(sets.flat())];
          const waves = Array.from(cache.admit(sets.map(u32), layer)).length;
          if (union.length > cache.slotCount) continue;
          if (policy.isPinned === null) expect(waves).toBe(1);
          if (waves === 1) expect(residents(cache)).toEqual(expect.arrayContaining(union));
        }
      }),
    );
  });

  it("that holds everything leaves each layer as its own cache would, a window's and pinned ones' too", () => {
    const stepped = fc.array(stepOf(3), { maxLength: 15 });
    fc.assert(
      fc.property(windows, pinnedSets, stepped, (k, pinned, steps) => {
        const pool = createNeuronCache({ dFf: 3 * N, nLayers: 3, slotCount: 3 * N, policy: pinnedPolicy(pinned, k) });
        const own = Array.from({ length: 3 }, (_, layer) => {
          const policy = pinnedPolicy(
            pinned.filter((unit) => Math.floor(unit / N) === layer).map((unit) => unit - layer * N),
            k,
          );
          return createNeuronCache({ dFf: N, slotCount: N, policy });
        });
        for (const { layers } of steps.filter(({ layers }) => layers.length === 3)) {
          for (const [layer, { sets }] of layers.entries()) {
            for (const _ of pool.admit(sets.map(u32)));
            for (const _ of own[layer]!.admit(sets.map((set) => u32(set.map((unit) => unit - layer * N)))));
          }
          const apart = own.flatMap((cache, layer) => residents(cache).map((unit) => layer * N + unit));
          expect(residents(pool)).toEqual(apart);
        }
      }),
    );
  });

  it("by LRU holds the last units of a list to whose end every used unit goes, token by token", () => {
    const steps = fc.array(stepOf(3, 4), { maxLength: 15 });
    fc.assert(
      fc.property(fc.integer({ min: 12, max: 18 }), steps, (slotCount, steps) => {
        const cache = createNeuronCache({ dFf: 3 * N, nLayers: 3, slotCount, policy: lruPolicy() });
        let list: number[] = [];
        for (const { sets } of steps.flatMap(inLayers)) {
          const [set] = sets;
          if (!set || set.length === 0) continue;
          for (const _ of cache.admit(u32(set)));
          list = [...list.filter((unit) => !set.includes(unit)), ...set].slice(-slotCount);
          expect(residents(cache)).toEqual([...list].sort((a, b) => a - b));
        }
      }),
    );
  });

  it("decides the same of the same calls", () => {
    fc.assert(
      fc.property(policies, slotCounts, pools, (makePolicy, slotCount, { nLayers, steps }) => {
        const [one, other] = [0, 1].map(() => {
          const cache = createNeuronCache({ dFf: nLayers * N, nLayers, slotCount, policy: makePolicy() });
          for (const { sets, layer } of steps.flatMap(inLayers)) for (const _ of cache.admit(sets.map(u32), layer));
          return { counters: cache.counters, pointer: [...cache.pointer] };
        });
        expect(one).toEqual(other);
      }),
    );
  });
});
