/** Random traces, against the obvious model and against each policy's own definition. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CachePolicy } from "./cache-policy.js";
import { leastStalePolicy } from "./least-stale-policy.js";
import { lfuPolicy } from "./lfu-policy.js";
import { lruPolicy } from "./lru-policy.js";
import { ObviousCache } from "./obvious-cache.fixture.js";
import { HALVE_AFTER } from "./obvious-orders.fixture.js";
import { frequencyPinnedPolicy, pinnedPolicy } from "./pinned-policy.js";
import type { CacheWave, NeuronCache } from "./plan.js";
import { s3FifoPolicy } from "./s3-fifo-policy.js";
import { createNeuronCache } from "./slot-cache.js";
import { SlotMemory } from "./slot-memory.fixture.js";
import { windowPolicy } from "./window-policy.js";

const D_FF = 24;
const setOf = (maxLength: number) =>
  fc.uniqueArray(fc.nat(D_FF - 1), { maxLength }).map((set) => Uint32Array.from(set).sort());
const traceOf = (maxSet: number) => fc.array(setOf(maxSet), { maxLength: 25 });
const slotCounts = fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: D_FF + 3 }));

/** Makes the same policy again and again: some have a state. */
type MakePolicy = () => CachePolicy;
const windows = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constant("auto" as const));
const pinnedSets = fc.uniqueArray(fc.nat(D_FF - 1), { maxLength: D_FF });
const policies: fc.Arbitrary<MakePolicy> = fc.oneof(
  windows.map((k) => () => windowPolicy(k)),
  fc.constant(lruPolicy),
  fc.tuple(pinnedSets, windows).map(
    ([pinned, k]) =>
      () =>
        pinnedPolicy(pinned, k),
  ),
  windows.map((k) => () => frequencyPinnedPolicy(D_FF, 0.4, k)),
  fc.constantFrom(() => lfuPolicy(HALVE_AFTER), s3FifoPolicy, leastStalePolicy),
);

const residents = (cache: NeuronCache) => [...cache.pointer.subarray(0, cache.numUsed)].sort((a, b) => a - b);
const unionOf = (sets: readonly Uint32Array[]) => [...new Set(sets.flatMap((set) => [...set]))].sort((a, b) => a - b);
const stampsOf = (cache: NeuronCache) =>
  new Map(residents(cache).map((neuron) => [neuron, cache.lastKActive[cache.slotOf(neuron)]!]));

/**
 * The sets of consecutive tokens that are admitted together, and how many of them are taken back: drafts that were
 * wrong.
 */
interface Drafts {
  readonly sets: readonly Uint32Array[];
  readonly rejected: number;
}
const draftsOf = (maxSet: number): fc.Arbitrary<Drafts> =>
  fc
    .array(setOf(maxSet), { minLength: 1, maxLength: 4 })
    .chain((sets) => fc.record({ sets: fc.constant(sets), rejected: fc.nat(sets.length) }));
const draftedTraceOf = (maxSet: number) => fc.array(draftsOf(maxSet), { maxLength: 20 });

/** Admits a token, or several, without executing it. */
function admit(cache: NeuronCache, named: Uint32Array | readonly Uint32Array[]): void {
  for (const _ of cache.admit(named));
}

/**
 * The neurons that stay when the next token needs `count` slots for neurons from `first` on, which nothing has named.
 */
function survivors(cache: NeuronCache, first: number, count: number): number[] {
  admit(
    cache,
    Uint32Array.from({ length: count }, (_, i) => first + i),
  );
  return residents(cache).filter((neuron) => neuron < first);
}

/** What a cache decides for a step, wave by wave. */
function admitWaves(cache: NeuronCache, named: Uint32Array | readonly Uint32Array[]) {
  let hits = cache.counters.hits;
  return Array.from(cache.admit(named), ({ neurons, misses, evicted }) => {
    const wave = { hits: cache.counters.hits - hits, misses: Array.from(misses, (i) => neurons[i]) };
    hits = cache.counters.hits;
    return { neurons: [...neurons], ...wave, evicted };
  });
}

function modelWaves(model: ObviousCache, sets: readonly Uint32Array[]) {
  return model.admit(sets.map((set) => [...set])).map((wave) => ({ ...wave, evicted: wave.evicted.length }));
}

function expectToAgree(cache: NeuronCache, model: ObviousCache): void {
  expect(residents(cache)).toEqual(model.neurons);
  expect(stampsOf(cache)).toEqual(new Map(model.neurons.map((neuron) => [neuron, model.resident.get(neuron)])));
  expect(cache.effectiveWindowTokens).toBe(model.effectiveWindowTokens);
}

describe("random traces", () => {
  it("agree with the obvious model wave by wave, whatever the policy and however few the slots", () => {
    fc.assert(
      fc.property(policies, slotCounts, traceOf(D_FF), (makePolicy, slotCount, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy: makePolicy() });
        const model = new ObviousCache(Math.min(slotCount, D_FF), makePolicy());
        for (const set of trace) {
          const before = residents(cache);
          expect(admitWaves(cache, set), `from ${before}`).toEqual(modelWaves(model, [set]));
          expectToAgree(cache, model);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("agree with the obvious model when several tokens are admitted at once, and the last of them taken back", () => {
    const step = fc.record({ drafts: draftsOf(D_FF), again: fc.nat(4), guess: fc.option(setOf(D_FF), { freq: 3 }) });
    const steps = fc.array(step, { maxLength: 15 });
    fc.assert(
      fc.property(policies, slotCounts, steps, (makePolicy, slotCount, steps) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy: makePolicy() });
        const model = new ObviousCache(Math.min(slotCount, D_FF), makePolicy());
        for (const { drafts, again, guess } of steps) {
          if (guess) {
            cache.anticipate(guess, 5);
            model.anticipate([...guess], 5);
          }
          const before = residents(cache);
          expect(admitWaves(cache, drafts.sets), `from ${before}`).toEqual(modelWaves(model, drafts.sets));
          expectToAgree(cache, model);
          for (const tokens of [drafts.rejected, Math.min(again, drafts.sets.length - drafts.rejected)]) {
            cache.retract(tokens);
            model.retract(tokens);
            expectToAgree(cache, model);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it("agree with the obvious model when tokens are anticipated, rightly or wrongly", () => {
    const tokens = fc.array(fc.tuple(setOf(D_FF), fc.nat(D_FF), setOf(D_FF)), { maxLength: 25 });
    fc.assert(
      fc.property(policies, slotCounts, tokens, (makePolicy, slotCount, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy: makePolicy() });
        const model = new ObviousCache(Math.min(slotCount, D_FF), makePolicy());
        for (const [guess, most, set] of trace) {
          const { neurons, misses, moves } = cache.anticipate(guess, most);
          expect([[...neurons], misses.length, moves.length]).toEqual([
            model.anticipate([...guess], most),
            neurons.length,
            0,
          ]);
          expect(residents(cache)).toEqual(model.neurons);
          const waves = Array.from(cache.admit(set), (wave) => Array.from(wave.misses, (i) => wave.neurons[i]));
          expect(waves).toEqual(model.admit([[...set]]).map((wave) => wave.misses));
          expectToAgree(cache, model);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("agree with the obvious model when free slots are filled with what passes, and nothing leaves for it", () => {
    const tokens = fc.array(fc.tuple(setOf(D_FF), setOf(D_FF)), { maxLength: 25 });
    fc.assert(
      fc.property(policies, slotCounts, tokens, (makePolicy, slotCount, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy: makePolicy() });
        const model = new ObviousCache(Math.min(slotCount, D_FF), makePolicy());
        const expires = model.policy.windowTokens < Number.POSITIVE_INFINITY;
        for (const [passing, set] of trace) {
          const before = residents(cache);
          const { neurons, misses, evicted } = cache.fill(passing);
          const room = expires ? 0 : model.slotCount - before.length;
          expect([...neurons]).toEqual(model.anticipate([...passing], room));
          expect([misses.length, evicted]).toEqual([neurons.length, 0]);
          expect(residents(cache)).toEqual(expect.arrayContaining(before));
          expect(admitWaves(cache, set)).toEqual(modelWaves(model, [set]));
          expectToAgree(cache, model);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("executed on a memory, leave in every slot what pointer says, and keep the counters' promises", () => {
    const step = fc.oneof(
      { weight: 12, arbitrary: setOf(D_FF) },
      { weight: 2, arbitrary: fc.array(setOf(8), { maxLength: 4 }) },
      { weight: 4, arbitrary: fc.record({ guess: setOf(D_FF), most: fc.nat(D_FF) }) },
      { weight: 4, arbitrary: fc.record({ passing: setOf(D_FF) }) },
      { weight: 6, arbitrary: draftsOf(D_FF) },
      { weight: 1, arbitrary: fc.constant("clear" as const) },
    );
    fc.assert(
      fc.property(policies, slotCounts, fc.array(step, { maxLength: 25 }), (makePolicy, slotCount, steps) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy: makePolicy() });
        const memory = new SlotMemory(cache.slotCount);
        const execute = (wave: CacheWave) => {
          memory.execute(wave);
          memory.expectToHold(cache, D_FF);
          return [...wave.neurons];
        };
        let cleared = 0;
        for (const step of steps) {
          if (step === "clear") {
            cleared += cache.numUsed;
            cache.clear();
          } else if (Array.isArray(step)) execute(cache.seed(step));
          else if ("guess" in step) execute(cache.anticipate(step.guess, step.most));
          else if ("passing" in step) execute(cache.fill(step.passing));
          else if ("sets" in step) {
            expect(Array.from(cache.admit(step.sets), execute).flat()).toEqual(unionOf(step.sets));
            cache.retract(step.rejected);
          } else expect(Array.from(cache.admit(step), execute).flat()).toEqual([...step]);
          memory.expectToHold(cache, D_FF);
          const { hits, misses, named, seeded, anticipated, evicted } = cache.counters;
          expect(hits + misses).toBe(named);
          expect(misses + seeded + anticipated - evicted - cleared).toBe(cache.numUsed);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("go on after a token whose waves were not all asked for", () => {
    fc.assert(
      fc.property(policies, slotCounts, setOf(D_FF), traceOf(D_FF), (makePolicy, slotCount, first, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy: makePolicy() });
        const memory = new SlotMemory(cache.slotCount);
        for (const set of [first, ...trace]) {
          for (const wave of cache.admit(set)) {
            memory.execute(wave);
            if (set === first) break;
          }
          memory.expectToHold(cache, D_FF);
        }
      }),
    );
  });
});

describe("by definition", () => {
  it("a window holds the union of the last k tokens' sets, the current one included, where that fits", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), traceOf(10), (k, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount: D_FF, policy: windowPolicy(k) });
        for (const [t, set] of trace.entries()) {
          admit(cache, set);
          expect(residents(cache)).toEqual(unionOf(trace.slice(Math.max(0, t + 1 - k), t + 1)));
          expect(cache.effectiveWindowTokens).toBe(Math.min(k, t + 1));
        }
      }),
    );
  });

  it("a window holds the union of the last k tokens' sets and of the last step's, where that fits", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), draftedTraceOf(10), (k, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount: D_FF, policy: windowPolicy(k) });
        const tokens: Uint32Array[] = [];
        for (const { sets } of trace) {
          admit(cache, sets);
          tokens.push(...sets);
          expect(residents(cache)).toEqual(unionOf(tokens.slice(-Math.max(k, sets.length))));
          expect(cache.effectiveWindowTokens).toBe(Math.min(k, tokens.length));
        }
      }),
    );
  });

  it("the effective window is resident, whatever the policy, and whatever was taken back", () => {
    fc.assert(
      fc.property(policies, slotCounts, draftedTraceOf(10), (makePolicy, slotCount, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy: makePolicy() });
        const tokens: Uint32Array[] = [];
        for (const { sets, rejected } of trace) {
          admit(cache, sets);
          cache.retract(rejected);
          tokens.push(...sets.slice(0, sets.length - rejected));
          const window = cache.effectiveWindowTokens;
          expect(window).toBeGreaterThanOrEqual(0);
          const union = unionOf(tokens.slice(tokens.length - Math.min(window, tokens.length)));
          expect(residents(cache)).toEqual(expect.arrayContaining(union));
        }
      }),
      { numRuns: 300 },
    );
  });

  it("LRU holds the last neurons of a list to whose end every used neuron goes", () => {
    fc.assert(
      fc.property(fc.integer({ min: 10, max: D_FF }), traceOf(10), (slotCount, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy: lruPolicy() });
        let list: number[] = [];
        for (const set of trace) {
          admit(cache, set);
          list = [...list.filter((neuron) => !set.includes(neuron)), ...set].slice(-slotCount);
          expect(residents(cache)).toEqual([...list].sort((a, b) => a - b));
        }
      }),
    );
  });

  it("pinned neurons never leave while they take at most three quarters of the slots", () => {
    const pinnedSets = fc.uniqueArray(fc.nat(D_FF - 1), { maxLength: 6 });
    fc.assert(
      fc.property(pinnedSets, fc.integer({ min: 8, max: 12 }), traceOf(D_FF), (pinned, slotCount, trace) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy: pinnedPolicy(pinned, 1) });
        const entered = new Set<number>();
        for (const set of trace) {
          for (const neuron of set) if (pinned.includes(neuron)) entered.add(neuron);
          for (const _ of cache.admit(set));
          expect(residents(cache)).toEqual(expect.arrayContaining([...entered]));
        }
      }),
    );
  });
});

describe("several tokens at once", () => {
  const HALF = D_FF / 2;
  const lowSets = (draft: Drafts) => ({
    ...draft,
    sets: draft.sets.map((set) => set.filter((neuron) => neuron < HALF)),
  });

  it("leave stamps, order and window as one after the other, where all fits", () => {
    fc.assert(
      fc.property(draftedTraceOf(D_FF), fc.integer({ min: 1, max: HALF }), (trace, newcomers) => {
        const together = createNeuronCache({ dFf: D_FF, slotCount: HALF, policy: lruPolicy() });
        const inTurn = createNeuronCache({ dFf: D_FF, slotCount: HALF, policy: lruPolicy() });
        for (const { sets } of trace.map(lowSets)) {
          admit(together, sets);
          for (const set of sets) admit(inTurn, set);
          expect(stampsOf(together)).toEqual(stampsOf(inTurn));
          expect(together.effectiveWindowTokens).toBe(inTurn.effectiveWindowTokens);
        }
        expect(together.counters).toEqual(inTurn.counters);
        expect(survivors(together, HALF, newcomers)).toEqual(survivors(inTurn, HALF, newcomers));
      }),
    );
  });

  it("that are taken back leave stamps and order as if they had never been admitted", () => {
    fc.assert(
      fc.property(draftedTraceOf(D_FF), fc.integer({ min: 1, max: HALF }), (trace, newcomers) => {
        const drafted = createNeuronCache({ dFf: D_FF, slotCount: HALF, policy: lruPolicy() });
        const plain = createNeuronCache({ dFf: D_FF, slotCount: HALF, policy: lruPolicy() });
        for (const { sets, rejected } of trace.map(lowSets)) {
          admit(drafted, sets);
          drafted.retract(rejected);
          for (const set of sets.slice(0, sets.length - rejected)) admit(plain, set);
          // What only rejected drafts have used is still there, but no token's.
          const stamps = [...stampsOf(drafted)].filter(([, stamp]) => stamp > 0);
          expect(new Map(stamps)).toEqual(stampsOf(plain));
          expect(drafted.effectiveWindowTokens).toBe(plain.effectiveWindowTokens);
        }
        const stamped = new Set(stampsOf(plain).keys());
        const left = survivors(drafted, HALF, newcomers).filter((neuron) => stamped.has(neuron));
        expect(left).toEqual(survivors(plain, HALF, newcomers));
      }),
    );
  });

  it("that are all taken back leave a policy that counts as it was", () => {
    fc.assert(
      fc.property(windows, traceOf(D_FF), draftedTraceOf(D_FF), (k, trace, drafts) => {
        const [drafted, plain] = [frequencyPinnedPolicy(D_FF, 0.4, k), frequencyPinnedPolicy(D_FF, 0.4, k)];
        const cache = createNeuronCache({ dFf: D_FF, slotCount: 8, policy: drafted });
        for (const [i, set] of trace.entries()) {
          admit(cache, drafts[i]?.sets ?? [set]);
          cache.retract(drafts[i]?.sets.length ?? 1);
          admit(cache, set);
          plain.observe!(set);
          const pinned = Array.from({ length: D_FF }, (_, neuron) => neuron).map(drafted.isPinned!);
          expect(pinned).toEqual(Array.from({ length: D_FF }, (_, neuron) => neuron).map(plain.isPinned!));
        }
      }),
    );
  });
});

describe("seed", () => {
  it("leaves LRU as if the sets had been admitted: the same neurons, stamps and future", () => {
    fc.assert(
      fc.property(fc.integer({ min: 6, max: D_FF }), traceOf(6), traceOf(6), (slotCount, sets, future) => {
        const seeded = createNeuronCache({ dFf: D_FF, slotCount, policy: lruPolicy() });
        const admitted = createNeuronCache({ dFf: D_FF, slotCount, policy: lruPolicy() });
        seeded.seed(sets);
        for (const set of sets) admit(admitted, set);
        for (const set of [new Uint32Array(0), ...future]) {
          expect(stampsOf(seeded)).toEqual(stampsOf(admitted));
          for (const cache of [seeded, admitted]) admit(cache, set);
        }
        expect(seeded.effectiveWindowTokens).toBe(admitted.effectiveWindowTokens);
        expect(seeded.counters.seeded + seeded.counters.misses).toBeLessThanOrEqual(admitted.counters.misses);
      }),
    );
  });

  it("leaves a window, pinned neurons too, as if the sets had been admitted, where they fit", () => {
    fc.assert(
      fc.property(pinnedSets, windows, traceOf(8), traceOf(8), (pinned, k, sets, future) => {
        const policy = () => pinnedPolicy(pinned, k);
        const seeded = createNeuronCache({ dFf: D_FF, slotCount: D_FF, policy: policy() });
        const admitted = createNeuronCache({ dFf: D_FF, slotCount: D_FF, policy: policy() });
        seeded.seed(sets);
        for (const set of sets) admit(admitted, set);
        for (const set of [null, ...future]) {
          if (set) for (const cache of [seeded, admitted]) admit(cache, set);
          expect(stampsOf(seeded)).toEqual(stampsOf(admitted));
          expect(seeded.effectiveWindowTokens).toBe(admitted.effectiveWindowTokens);
        }
      }),
    );
  });

  it("fills the slots with the newest sets' neurons, as many as there are", () => {
    fc.assert(
      fc.property(slotCounts, windows, fc.array(setOf(D_FF), { maxLength: 5 }), (slotCount, k, sets) => {
        const cache = createNeuronCache({ dFf: D_FF, slotCount, policy: windowPolicy(k) });
        cache.seed(sets);
        const window = sets.slice(Math.max(0, sets.length - (k === "auto" ? sets.length : k)));
        expect(cache.numUsed).toBe(Math.min(cache.slotCount, unionOf(window).length));
        for (let n = 1; n <= window.length; n++) {
          const newest = unionOf(window.slice(-n));
          if (newest.length <= cache.slotCount) expect(residents(cache)).toEqual(expect.arrayContaining(newest));
        }
      }),
    );
  });
});
