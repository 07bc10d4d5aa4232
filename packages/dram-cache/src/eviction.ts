/**
 * What leaves a cache: what the window lets go, and what makes room under pressure.
 *
 * Room for a wave is taken first from neurons that the admit does not name (in the policy's order), then from segments
 * already computed (least recently used first), then from the far end of those to come. Pinned neurons leave last, in
 * the same order.
 */
import { assert } from "@flashwick/core";
import type { CachePolicy, EvictionOrder } from "./cache-policy.js";
import type { LastUse } from "./last-use.js";
import { NO_SLOT } from "./recency-list.js";
import { ABSENT, type SlotTable } from "./slot-table.js";
import { isMember } from "./token-sets.js";

export class Eviction {
  readonly #policy: CachePolicy;
  readonly #order: EvictionOrder | null;
  readonly #table: SlotTable;
  readonly #lastUse: LastUse;
  /** By layer: the slot that a search for the oldest has come to. */
  readonly #reached: number[];

  constructor(policy: CachePolicy, order: EvictionOrder | null, table: SlotTable, lastUse: LastUse) {
    this.#policy = policy;
    this.#order = order;
    this.#table = table;
    this.#lastUse = lastUse;
    this.#reached = new Array<number>(lastUse.nLayers).fill(NO_SLOT);
  }

  /**
   * Vacates what of the layer in progress has left the window: `evict = resident \ union of the last k sets` (LLM in a
   * flash, 3.3). What the step names stays, even where the step has more tokens than the window.
   */
  expire(): void {
    const { list, lastKActive, token, tokenBefore, layer } = this.#lastUse;
    const { pointer } = this.#table;
    const newestExpired = Math.min(token - this.#policy.windowTokens, tokenBefore);
    for (let slot = list.first(layer), after = 0; slot !== NO_SLOT; slot = after) {
      if (lastKActive[slot]! > newestExpired) return;
      after = list.after(slot);
      if (!this.#isPinned(pointer[slot]!)) this.vacate(slot, false);
    }
  }

  /**
   * Vacates what `misses` neurons of a wave need beyond free and vacated slots.
   *
   * @param named All neurons of the step, ascending. @param end Where the wave ends in it.
   */
  makeRoom(misses: number, named: Uint32Array, end: number): void {
    const holes = misses - this.#table.free;
    if (this.#table.holeCount >= holes) return;
    if (this.#order) this.#evictInOrder(holes, this.#order);
    for (const pinnedToo of this.#policy.isPinned ? [false, true] : [true]) {
      this.#evictOldest(
        holes,
        (slot, neuron) => !this.#lastUse.isOfStep(slot) && (pinnedToo || !this.#isPinned(neuron)),
      );
      this.#evictComputed(holes, named[end - 1]!, pinnedToo);
      this.#evictFarthest(holes, named, end, pinnedToo);
    }
    assert(this.#table.holeCount === holes, "a wave is no larger than the slots");
  }

  /**
   * Evicts neurons that are neither guessed nor pinned, nor in a pool of the last admit, at most `holes`. A policy's own
   * order has been told to keep the guess.
   */
  evictUnguessed(holes: number, guess: Uint32Array): void {
    if (this.#table.holeCount >= holes) return;
    if (this.#order) {
      this.#evictInOrder(holes, this.#order);
      return;
    }
    const inUse = (slot: number) => this.#lastUse.nLayers > 1 && this.#lastUse.isOfStep(slot);
    this.#evictOldest(holes, (slot, neuron) => !this.#isPinned(neuron) && !inUse(slot) && !isMember(guess, neuron));
  }

  /** Makes a slot in use a hole. @param pressed For want of room. */
  vacate(slot: number, pressed: boolean): void {
    this.#lastUse.leave(slot, pressed);
    this.#order?.left(this.#table.pointer[slot]!);
    this.#table.vacate(slot);
  }

  #evictInOrder(holes: number, order: EvictionOrder): void {
    const table = this.#table;
    while (table.holeCount < holes) {
      const victim = order.victim();
      if (victim < 0) return;
      this.vacate(table.slotOf[victim]!, true);
    }
  }

  /** Evicts those that may leave, by the token that used them last, then by neuron: layers of a pool one by one. */
  #evictOldest(holes: number, mayLeave: (slot: number, neuron: number) => boolean): void {
    const { list, nLayers } = this.#lastUse;
    const table = this.#table;
    for (let layer = 0; layer < nLayers; layer++) this.#reached[layer] = list.first(layer);
    while (table.holeCount < holes) {
      const slot = this.#nextOldest();
      if (slot === NO_SLOT) return;
      if (mayLeave(slot, table.pointer[slot]!)) this.vacate(slot, true);
    }
  }

  #nextOldest(): number {
    const { list, lastKActive } = this.#lastUse;
    const reached = this.#reached;
    let oldest = 0;
    for (let layer = 1; layer < reached.length; layer++) {
      const slot = reached[layer]!;
      if (slot === NO_SLOT) continue;
      const best = reached[oldest]!;
      if (best === NO_SLOT || lastKActive[slot]! < lastKActive[best]!) oldest = layer;
    }
    const slot = reached[oldest]!;
    if (slot !== NO_SLOT) reached[oldest] = list.after(slot);
    return slot;
  }

  /** Evicts what the step has computed, in the order of the list: up to `lastOfWave`, which later waves are beyond. */
  #evictComputed(holes: number, lastOfWave: number, pinnedToo: boolean): void {
    const { list, layer } = this.#lastUse;
    const table = this.#table;
    for (let slot = list.first(layer), after = 0; slot !== NO_SLOT && table.holeCount < holes; slot = after) {
      after = list.after(slot);
      const neuron = table.pointer[slot]!;
      const isComputed = neuron <= lastOfWave && this.#lastUse.isOfStep(slot);
      if (isComputed && (pinnedToo || !this.#isPinned(neuron))) this.vacate(slot, true);
    }
  }

  #evictFarthest(holes: number, named: Uint32Array, end: number, pinnedToo: boolean): void {
    for (let i = named.length - 1; i >= end && this.#table.holeCount < holes; i--) {
      const slot = this.#table.slotOf[named[i]!]!;
      if (slot !== ABSENT && (pinnedToo || !this.#isPinned(named[i]!))) this.vacate(slot, true);
    }
  }

  #isPinned(neuron: number): boolean {
    return this.#policy.isPinned?.(neuron) ?? false;
  }
}
