/**
 * What deciding costs: all layers of an OPT 6.7B-like model, one token at a time, no bytes moved. Run by
 * `npx vitest bench packages/dram-cache`. Checked before it is timed: a fresh cache replays the trace to the same counters.
 *
 * The trace is synthetic: each neuron goes on being named with the same probability from token to token, so that about 5 %
 * are named and about a fifth of those change, and a named neuron tends to bring its neighbour.
 */
import { bench, describe, expect } from "vitest";
import {
  type CachePolicy,
  frequencyPinnedPolicy,
  leastStalePolicy,
  lfuPolicy,
  lruPolicy,
  mostFrequent,
  pinnedPolicy,
  s3FifoPolicy,
  windowPolicy,
} from "../src/index.js";
import { createNeuronCache } from "../src/slot-cache.js";

const D_FF = 16384;
const LAYERS = 32;
const NAMED_SHARE = 0.05;
/** Of the slots that would hold everything. */
const SLOT_SHARE = 0.25;
const TOKENS = 64;
/** Qwen3-30B-A3B's. */
const POOL = { layers: 48, experts: 128, topK: 8 };

const sets = syntheticSets(TOKENS);
const all = Uint32Array.from({ length: D_FF }, (_, neuron) => neuron);
const uses = new Uint32Array(D_FF);
for (const set of sets) for (const neuron of set) uses[neuron]!++;
const meanNamed = sets.reduce((sum, set) => sum + set.length, 0) / TOKENS;

describe(`one token: ${LAYERS} layers, dFf ${D_FF}, ${Math.round(meanNamed)} named, ${SLOT_SHARE * D_FF} slots`, () => {
  benchToken("window of 5 tokens", () => windowPolicy(5));
  benchToken("window of what fits", () => windowPolicy(Number.POSITIVE_INFINITY));
  benchToken("lru", lruPolicy);
  benchToken("lfu", () => lfuPolicy());
  benchToken("s3-fifo", s3FifoPolicy);
  benchToken("500 pinned, window of what fits", () => pinnedPolicy(mostFrequent(uses, 500), Number.POSITIVE_INFINITY));
  benchToken("pinned by use, window of 5 tokens", () => frequencyPinnedPolicy(D_FF, 0.5, 5));
  benchToken("in waves of 300 slots", () => windowPolicy(5), { slotCount: 300 });
  benchToken("dense and resident", lruPolicy, { slotCount: D_FF, trace: [all] });
  benchDrafts("four at once, two of them taken back", 4, 2);
});

describe(`one token of experts: a pool of ${POOL.layers} layers, ${POOL.experts} each, ${POOL.topK} named, half of them resident`, () => {
  for (const policy of [lruPolicy, () => lfuPolicy(), s3FifoPolicy, leastStalePolicy]) benchPool(policy);
});

function benchToken(
  title: string,
  policy: () => CachePolicy,
  { slotCount = SLOT_SHARE * D_FF, trace = sets as readonly Uint32Array[] } = {},
): void {
  const create = () => createNeuronCache({ dFf: D_FF, slotCount, policy: policy() });
  const caches = Array.from({ length: LAYERS }, create);
  const check = create();
  for (const set of trace) {
    for (const cache of [...caches, check]) for (const _ of cache.admit(set));
  }
  for (const cache of caches) expect(cache.counters).toEqual(check.counters);
  expect(check.counters.hits + check.counters.misses).toBe(check.counters.named);
  let t = 0;
  bench(
    title,
    () => {
      const set = trace[t++ % trace.length]!;
      for (const cache of caches) for (const _ of cache.admit(set));
    },
    { time: 300, warmupTime: 100 },
  );
}

/** All layers of a token, one after the other. */
function benchPool(policy: () => CachePolicy): void {
  const { layers, experts, topK } = POOL;
  const create = () =>
    createNeuronCache({ dFf: layers * experts, nLayers: layers, slotCount: (layers * experts) / 2, policy: policy() });
  const random = uniform(2);
  const trace = Array.from({ length: TOKENS }, () =>
    Array.from({ length: layers }, (_, layer) => {
      const chosen = new Set<number>();
      // Squared: some experts are more popular than others.
      while (chosen.size < topK) chosen.add(layer * experts + Math.floor(experts * random() ** 2));
      return Uint32Array.from(chosen).sort();
    }),
  );
  const [cache, check] = [create(), create()];
  const admit = (pool: typeof cache, token: number) => {
    for (const set of trace[token % TOKENS]!) for (const _ of pool.admit(set));
  };
  for (let t = 0; t < TOKENS; t++) for (const pool of [cache, check]) admit(pool, t);
  expect(cache.counters).toEqual(check.counters);
  let t = 0;
  bench(policy().name, () => admit(cache, t++), { time: 300, warmupTime: 100 });
}

/** One step of several tokens, of which the last are drafts that are rejected. */
function benchDrafts(title: string, tokens: number, rejected: number): void {
  const create = () => createNeuronCache({ dFf: D_FF, slotCount: SLOT_SHARE * D_FF, policy: windowPolicy(5) });
  const caches = Array.from({ length: LAYERS }, create);
  let t = 0;
  const step = () => {
    const named = Array.from({ length: tokens }, (_, i) => sets[(t + i) % sets.length]!);
    t += tokens - rejected;
    for (const cache of caches) {
      for (const _ of cache.admit(named));
      cache.retract(rejected);
    }
  };
  for (let i = 0; i < TOKENS; i++) step();
  for (const { counters } of caches) {
    expect(counters).toEqual(caches[0]!.counters);
    expect(counters.hits + counters.misses).toBe(counters.named);
  }
  bench(title, step, { time: 300, warmupTime: 100 });
}

function syntheticSets(count: number): Uint32Array[] {
  const random = uniform(1);
  const stay = 0.8;
  const enter = (NAMED_SHARE * (1 - stay)) / (1 - NAMED_SHARE) / 1.25;
  const named = Uint8Array.from({ length: D_FF }, () => (random() < NAMED_SHARE ? 1 : 0));
  return Array.from({ length: count }, () => {
    for (let neuron = 0; neuron < D_FF; neuron++) {
      const wasNamed = named[neuron] === 1;
      const follows = neuron > 0 && named[neuron - 1] === 1 && !wasNamed;
      named[neuron] = random() < (wasNamed ? stay : follows ? 5 * enter : enter) ? 1 : 0;
    }
    return setOf(named);
  });
}

function setOf(flags: Uint8Array): Uint32Array {
  const set: number[] = [];
  for (const [neuron, flag] of flags.entries()) if (flag) set.push(neuron);
  return Uint32Array.from(set);
}

/** Numbers in [0, 1) by a linear congruential generator: the same on every machine. */
function uniform(seed: number): () => number {
  return () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}
