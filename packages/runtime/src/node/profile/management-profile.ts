/** What deciding costs: a neuron cache with sets that come back as a model's do, and the reads planned from its misses. */
import { Random } from "@flashwick/core";
import { createNeuronCache, windowPolicy } from "@flashwick/dram-cache";
import { planRuns } from "@flashwick/flash-io";
import { median } from "./figures.js";

const D_FF = 16384;
const SLOTS = 6144;
const NAMED = 1200;
const TOKENS = 60;
const WARM_UP_TOKENS = 20;
const RECORD_BYTES = 16384;

/** Nanoseconds for each neuron named, and for each one read. */
export function measureManagement(): { readonly nsPerNamed: number; readonly nsPerLoaded: number } {
  // Two kinds of text: one that says the same again, one that does not.
  const [calm, wild] = [run(0.95), run(0.4)];
  const nsPerLoaded = Math.max(0, (wild.ns - calm.ns) / Math.max(1, wild.loaded - calm.loaded));
  return { nsPerLoaded, nsPerNamed: Math.max(0, (calm.ns - nsPerLoaded * calm.loaded) / NAMED) };
}

/** @param kept Share of a token's set that was in the last one's. */
function run(kept: number): { readonly ns: number; readonly loaded: number } {
  const random = new Random(11);
  const cache = createNeuronCache({ dFf: D_FF, slotCount: SLOTS, policy: windowPolicy("auto") });
  const times: number[] = [];
  let loaded = 0;
  let set = new Set<number>();
  const [order, values] = [new Uint32Array(D_FF), new Float32Array(D_FF)];
  for (let token = 0; token < TOKENS; token++) {
    set = nextSet(set, kept, random);
    const named = Uint32Array.from(set).sort();
    const begin = performance.now();
    for (const wave of cache.admit(named)) {
      const places = { fileOffset: 0, strideBytes: RECORD_BYTES, slotBase: 0, slotBytes: RECORD_BYTES };
      const limits = { maxReadBytes: 2 ** 23, maxGapBytes: 0, gapPtr: 0 };
      planRuns(places, wave.neurons, wave.slots, wave.misses, limits, []);
      inOrderOfArrival(wave.neurons.length, wave.slots, wave.hits, wave.misses, order, values);
      if (token >= WARM_UP_TOKENS) loaded += wave.misses.length;
    }
    if (token >= WARM_UP_TOKENS) times.push(performance.now() - begin);
  }
  return { ns: 1e6 * median(times), loaded: loaded / (TOKENS - WARM_UP_TOKENS) };
}

/** What the engine does with a wave beside its arithmetic: slots in the order in which they can be computed, biases, and back again. */
function inOrderOfArrival(
  n: number,
  slots: Uint32Array,
  hits: Uint32Array,
  misses: Uint32Array,
  order: Uint32Array,
  values: Float32Array,
): void {
  for (let i = 0; i < hits.length; i++) order[i] = slots[hits[i]!]!;
  for (let i = hits.length; i < n; i++) order[i] = slots[misses[i - hits.length]!]!;
  for (let i = 0; i < hits.length; i++) values[hits[i]!] = order[i]!;
  for (let i = hits.length; i < n; i++) values[misses[i - hits.length]!] = order[i]!;
  order.set(slots);
}

function nextSet(last: ReadonlySet<number>, kept: number, random: Random): Set<number> {
  const next = new Set<number>();
  for (const neuron of last) if (random.uniform() < kept) next.add(neuron);
  while (next.size < NAMED) next.add(random.below(D_FF));
  return next;
}
