import { InputError } from "@flashwick/core";
import type { CachePolicy, EvictionOrder, Residents } from "./cache-policy.js";
import { KeptUnits } from "./kept-units.js";
import { layerByLayer, oldestBut } from "./least-stale-policy.js";
import { UnitHeap } from "./unit-heap.js";

/** Against 256: gains where a text's subject changes, and loses little where it stays (simulate/rank-policies.test.ts). */
const HALVE_AFTER_TOKENS = 64;

/**
 * Least frequently used, with ageing: under pressure the unit that the fewest tokens have named leaves first, among
 * equals the least recently used, then the lower unit. Counts are of the past, also of units that have left and come
 * back. All of them are halved, rounded down, at the first step after so many tokens. Drafts are taken back exactly.
 *
 * In a pool, layers come in the order of `leastStalePolicy`, and counts order what is stale within each: by counts alone
 * what a layer has just read would leave for the next layer, before it can be used again.
 *
 * @param halveAfterTokens At least 1; Infinity: counts are of the whole past, and say nothing beyond 2^21 uses.
 * @throws {InputError} `INPUT_INVALID` for fewer than 1.
 * Cost: O(log slots) for each unit that a token names or evicts, O(layers) more for what leaves a pool, and O(units) a
 * halving; 23 bytes a unit.
 */
export function lfuPolicy(halveAfterTokens = HALVE_AFTER_TOKENS): CachePolicy {
  if (!(halveAfterTokens >= 1)) {
    const message = `lfu: counts are halved after ${halveAfterTokens} tokens, expected at least 1, or Infinity`;
    throw new InputError("INPUT_INVALID", message, { details: { halveAfterTokens } });
  }
  return {
    name: "lfu",
    windowTokens: Number.POSITIVE_INFINITY,
    isPinned: null,
    orderBytes: (nUnits) => 23 * nUnits,
    order: (residents) => new LfuOrder(residents, halveAfterTokens),
  };
}

/**
 * A heap for each layer. What the last step of a layer named stands aside until the next one, since that is when counts
 * and last uses of it change: by being named, and by being taken back.
 */
class LfuOrder implements EvictionOrder {
  readonly #residents: Residents;
  readonly #uses: Uint32Array;
  readonly #isResident: Uint8Array;
  readonly #heaps: readonly UnitHeap[];
  readonly #aside: readonly KeptUnits[];
  readonly #kept: KeptUnits;
  readonly #unitsPerLayer: number;
  readonly #halveAfterSets: number;
  /** Since counts were halved; a token has one for each layer. */
  #sets = 0;
  #layer = 0;

  constructor(residents: Residents, halveAfterTokens: number) {
    const { nUnits, nLayers } = residents;
    this.#residents = residents;
    this.#uses = new Uint32Array(nUnits);
    this.#isResident = new Uint8Array(nUnits);
    this.#unitsPerLayer = nUnits / nLayers;
    this.#kept = new KeptUnits(nUnits);
    const firsts = Array.from({ length: nLayers }, (_, layer) => layer * this.#unitsPerLayer);
    this.#heaps = firsts.map((first) => new UnitHeap(first, this.#unitsPerLayer));
    this.#aside = firsts.map((first) => new KeptUnits(this.#unitsPerLayer, first));
    this.#halveAfterSets = halveAfterTokens * nLayers;
  }

  beginStep(layer: number): void {
    this.#layer = layer;
    this.#kept.take();
    const heap = this.#heaps[layer]!;
    for (const unit of this.#aside[layer]!.take()) if (this.#isResident[unit] === 1) heap.push(unit, this.#keyOf(unit));
    if (layer === 0 && this.#sets >= this.#halveAfterSets) this.#halve();
  }

  observe(named: Uint32Array): void {
    this.keep(named);
    this.#sets++;
    for (let i = 0; i < named.length; i++) this.#uses[named[i]!]!++;
  }

  unobserve(named: Uint32Array): void {
    this.#setAside(named);
    this.#sets--;
    for (let i = 0; i < named.length; i++) this.#uses[named[i]!]!--;
  }

  keep(units: Uint32Array): void {
    // In one layer, what is kept stands aside, and nothing else is asked for.
    if (this.#heaps.length > 1) for (let i = 0; i < units.length; i++) this.#kept.add(units[i]!);
    this.#setAside(units);
  }

  entered(unit: number): void {
    this.#isResident[unit] = 1;
    const layer = this.#layerOf(unit);
    if (!this.#aside[layer]!.has(unit)) this.#heaps[layer]!.push(unit, this.#keyOf(unit));
  }

  left(unit: number): void {
    this.#isResident[unit] = 0;
    const heap = this.#heaps[this.#layerOf(unit)]!;
    if (heap.has(unit)) heap.remove(unit);
  }

  victim(): number {
    if (this.#heaps.length === 1) return this.#heaps[0]!.first;
    return layerByLayer(this.#layer, this.#heaps.length, (layer, hasToBeStale) => {
      const stale = this.#heaps[layer]!.first;
      return stale >= 0 || hasToBeStale ? stale : oldestBut(this.#kept, this.#residents, layer);
    });
  }

  /** Orders by uses, then by last use: token numbers are below 2^32, and uses halved so often that they stay below 2^21. */
  #keyOf(unit: number): number {
    return this.#uses[unit]! * 2 ** 32 + this.#residents.lastUse(unit);
  }

  #setAside(units: Uint32Array): void {
    for (let i = 0; i < units.length; i++) {
      const unit = units[i]!;
      const layer = this.#layerOf(unit);
      if (this.#aside[layer]!.add(unit) && this.#heaps[layer]!.has(unit)) this.#heaps[layer]!.remove(unit);
    }
  }

  #halve(): void {
    this.#sets = 0;
    for (let unit = 0; unit < this.#uses.length; unit++) this.#uses[unit]! >>>= 1;
    for (const heap of this.#heaps) heap.rekey((unit) => this.#keyOf(unit));
  }

  #layerOf(unit: number): number {
    return this.#heaps.length === 1 ? 0 : Math.floor(unit / this.#unitsPerLayer);
  }
}
