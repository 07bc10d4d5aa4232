/**
 * What DRAM would hold of the columns that a pruned FFN reads, if it had room for a part of them: each layer has a cache of inputs and one of
 * neurons, of dram-cache's class and policies, as the engine has where a file is read by columns.
 *
 * A token may use more units than the cache has slots. What is there is used where it is, and what finds no slot passes through: so hits are
 * admitted first, then the missing units of the largest scores, as far as slots reach.
 */
import { createNeuronCache, type NeuronCache } from "@flashwick/dram-cache";
import { type CachePolicyChoice, cachePolicy } from "../cache-policy.js";
import { admissibleUnits } from "./admissible-units.js";

/** The units of one stage, over all layers. */
export class UnitCaches {
  readonly #caches: readonly NeuronCache[];
  /** Of all layers together. */
  readonly counters = { named: 0, hits: 0 };
  readonly missesByLayer: Float64Array;

  /** @param units Of each layer. @param slots Of each layer, at least one. */
  constructor(units: readonly number[], slots: readonly number[], policy: CachePolicyChoice["policy"]) {
    this.missesByLayer = new Float64Array(units.length);
    this.#caches = units.map((dFf, layer) =>
      createNeuronCache({
        dFf,
        slotCount: slots[layer]!,
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
    for (const _ of cache.admit(admissibleUnits(cache, used, scores)));
  }
}

/** Slots for a share of each layer's units, rounded down; at least one. */
export function slotsOfShare(units: readonly number[], share: number): number[] {
  return units.map((count) => Math.max(1, Math.floor(share * count)));
}
