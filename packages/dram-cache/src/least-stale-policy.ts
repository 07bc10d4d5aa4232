import type { CachePolicy, EvictionOrder, Residents } from "./cache-policy.js";
import { KeptUnits } from "./kept-units.js";

/**
 * Least-Stale (Hoang et al., "SpecMD: a comprehensive study on speculative expert prefetching", 2026), for pools: what
 * is needed last leaves first, as far as the order of layers tells. A unit of the layer in progress that the token does
 * not name has to wait for the whole of the next token, one of the layer before for a layer less, and so on. So there
 * leave:
 *
 * 1. _stale_ units, which the token did not name when it came to their layer: those of the layer in progress first, then
 *    of the one before, down to the first;
 * 2. units that the token has used, in the same order of layers;
 * 3. units of layers to come, the last layer's first.
 *
 * Within a layer, and so in a cache of one layer, the least recently used leave first, the lower unit among equals.
 *
 * LRU takes them the other way round: what the token is about to need was used longest ago. With fewer slots than a
 * token uses it never hits, as with every list that is gone through in circles; here all that fits hits.
 *
 * The paper ranks stale units before those of the token in progress, and passed layers before those to come. That much
 * is in its abstract and in reproductions that agree; the order of layers within the three is ours.
 *
 * Cost: O(layers) for each unit that leaves, and a look at those that are kept; a byte a unit.
 */
export function leastStalePolicy(): CachePolicy {
  return {
    name: "least-stale",
    windowTokens: Number.POSITIVE_INFINITY,
    isPinned: null,
    orderBytes: (nUnits) => nUnits,
    order: (residents) => new LeastStaleOrder(residents),
  };
}

class LeastStaleOrder implements EvictionOrder {
  readonly #residents: Residents;
  readonly #kept: KeptUnits;
  #layer = 0;

  constructor(residents: Residents) {
    this.#residents = residents;
    this.#kept = new KeptUnits(residents.nUnits);
  }

  beginStep(layer: number): void {
    this.#kept.take();
    this.#layer = layer;
  }

  observe(named: Uint32Array): void {
    this.keep(named);
  }

  /** Last uses are the cache's. */
  unobserve(): void {}

  keep(units: Uint32Array): void {
    for (let i = 0; i < units.length; i++) this.#kept.add(units[i]!);
  }

  entered(): void {}

  left(): void {}

  victim(): number {
    const { tokenBefore } = this.#residents;
    const isStale = (unit: number) => unit >= 0 && this.#residents.lastUse(unit) <= tokenBefore;
    return layerByLayer(this.#layer, this.#residents.nLayers, (layer, hasToBeStale) => {
      const unit = oldestBut(this.#kept, this.#residents, layer);
      return !hasToBeStale || isStale(unit) ? unit : -1;
    });
  }
}

/**
 * Asks layer after layer for a unit that may leave, in the order of the three groups above.
 *
 * @param find Returns -1 where the layer has none.
 */
export function layerByLayer(
  current: number,
  nLayers: number,
  find: (layer: number, hasToBeStale: boolean) => number,
): number {
  let unit = -1;
  for (let layer = current; layer >= 0 && unit < 0; layer--) unit = find(layer, true);
  for (let layer = current; layer >= 0 && unit < 0; layer--) unit = find(layer, false);
  for (let layer = nLayers - 1; layer > current && unit < 0; layer--) unit = find(layer, false);
  return unit;
}

/** The least recently used unit of a layer that is not kept; or -1. */
export function oldestBut(kept: KeptUnits, residents: Residents, layer: number): number {
  let unit = residents.oldest(layer);
  while (unit >= 0 && kept.has(unit)) unit = residents.newer(unit);
  return unit;
}
