/** Replaying a trace: the same class that the engine asks, hence exactly the engine's own hits, misses and bytes. */
import type { CachePolicy } from "../cache-policy.js";
import type { CacheCounters } from "../plan.js";
import { createNeuronCache } from "../slot-cache.js";
import type { NeuronTrace } from "./neuron-trace.js";

export interface ReplayOptions {
  /** Slots of each layer, or of every layer. */
  readonly slots: number | readonly number[];
  /** A policy of each layer. */
  readonly policy: (layer: number) => CachePolicy;
  /** Bytes of a neuron on flash: both halves. */
  readonly slotBytes: number;
}

export interface ReplayResult {
  readonly layers: readonly Readonly<CacheCounters>[];
  readonly total: Readonly<CacheCounters>;
  /** Bytes that the misses read. */
  readonly flashBytes: number;
}

/** @returns Counters by layer and in all; `total.tokens` counts a token once a layer. */
export function replayTrace(trace: NeuronTrace, options: ReplayOptions): ReplayResult {
  const layers = Array.from({ length: trace.nLayers }, (_, layer) => {
    const slotCount = typeof options.slots === "number" ? options.slots : options.slots[layer]!;
    const cache = createNeuronCache({ dFf: trace.dFf, slotCount, policy: options.policy(layer) });
    for (const token of trace.tokens) for (const _ of cache.admit(token[layer]!));
    return cache.counters;
  });
  const total = layers.reduce((sum, counters) => {
    const keys = Object.keys(sum) as (keyof CacheCounters)[];
    return Object.fromEntries(keys.map((key) => [key, sum[key] + counters[key]])) as unknown as CacheCounters;
  });
  return { layers, total, flashBytes: total.misses * options.slotBytes };
}
