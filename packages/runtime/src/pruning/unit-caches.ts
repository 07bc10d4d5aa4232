/**
 * What DRAM would hold of the columns that a pruned FFN reads, if it had room for a part of them: each layer has a cache of inputs and one of
 * neurons, of dram-cache's class and policies, with the same share of either kind.
 *
 * A token may use more units than the cache has slots. What is there is used where it is, and what finds no slot passes through: so hits are
 * admitted first, then the missing units of the largest scores, as far as slots reach.
 */
import { createNeuronCache, type NeuronCache } from "@flashwick/dram-cache";
import { type CachePolicyChoice, cachePolicy } from "../cache-policy.js";
import { topUnits } from "./top-units.js";

/** The units of one stage, over all layers. */
export class UnitCaches {
  readonly #caches: readonly NeuronCache[];
  /** Of all layers together. */
  readonly counters = { named: 0, hits: 0 };
  readonly missesByLayer: Float64Array;

  /** @param units Of each layer. @param share Of them, how many have slots; at least one has. */
  constructor(units: readonly number[], share: number, policy: CachePolicyChoice["policy"]) {
    this.missesByLayer = new Float64Array(units.length);
    this.#caches = units.map((dFf) =>
      createNeuronCache({
        dFf,
        slotCount: Math.max(1, Math.floor(share * dFf)),
        policy: cachePolicy({ policy, windowTokens: null }, dFf),
      }),
    );
  }

  holds(layer: number, unit: number): boolean {
    return this.#caches[layer]!.slotOf(unit) >= 0;
  }

  /** A token uses these units, ascending; null: all of them. */
  use(layer: number, set: Uint32Array | null, scores: Float32Array): void {
    const cache = this.#caches[layer]!;
    const used = set ?? Uint32Array.from(scores, (_, unit) => unit);
    const hits = used.reduce((count, unit) => count + (cache.slotOf(unit) >= 0 ? 1 : 0), 0);
    this.counters.named += used.length;
    this.counters.hits += hits;
    this.missesByLayer[layer]! += used.length - hits;
    for (const _ of cache.admit(admissible(cache, used, hits, scores)));
  }
}

function admissible(cache: NeuronCache, used: Uint32Array, hits: number, scores: Float32Array): Uint32Array {
  if (used.length <= cache.slotCount) return used;
  const missing = used.filter((unit) => cache.slotOf(unit) < 0);
  const best = topUnits(
    Float32Array.from(missing, (unit) => scores[unit]!),
    cache.slotCount - hits,
  );
  const admitted = new Set(Array.from(best, (i) => missing[i]!));
  return used.filter((unit) => cache.slotOf(unit) >= 0 || admitted.has(unit));
}
