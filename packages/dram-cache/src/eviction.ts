/**
 * Who leaves a cache: what the window lets go, and what makes room under pressure.
 *
 * Room for a wave is taken first from neurons that the step does not name (policy order), then from segments already
 * computed (least recently used first), then from the far end of those to come. Pinned neurons leave last, in the same
 * order.
 */
import { assert } from "@flashwick/core";
import type { CachePolicy } from "./cache-policy.js";
import type { LastUse } from "./last-use.js";
import { NO_SLOT } from "./recency-list.js";
import { ABSENT, type SlotTable } from "./slot-table.js";
import { isMember } from "./token-sets.js";

export class Eviction {
  readonly #policy: CachePolicy;
  readonly #table: SlotTable;
  readonly #lastUse: LastUse;

  constructor(policy: CachePolicy, table: SlotTable, lastUse: LastUse) {
    this.#policy = policy;
    this.#table = table;
    this.#lastUse = lastUse;
  }

  /**
   * Vacates what has left the window: `evict = resident \ union of the last k sets` (LLM in a flash, 3.3). What the
   * step in progress names stays, even where the step has more tokens than the window.
   */
  expire(): void {
    const { list, lastKActive, token, tokenBefore } = this.#lastUse;
    const { pointer } = this.#table;
    const newestExpired = Math.min(token - this.#policy.windowTokens, tokenBefore);
    for (let slot = list.first, after = 0; slot !== NO_SLOT; slot = after) {
      if (lastKActive[slot]! > newestExpired) return;
      after = list.after(slot);
      if (!this.#isPinned(pointer[slot]!)) this.#vacate(slot, false);
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
    if (this.#policy.evictionRank) this.#evictByRank(holes);
    for (const pinnedToo of this.#policy.isPinned ? [false, true] : [true]) {
      this.#evictOldest(holes, named[end - 1]!, pinnedToo);
      this.#evictFarthest(holes, named, end, pinnedToo);
    }
    assert(this.#table.holeCount === holes, "a wave is no larger than the slots");
  }

  /** Evicts the oldest that are neither guessed nor pinned, at most `holes`. */
  evictUnguessed(holes: number, guess: Uint32Array): void {
    const { list } = this.#lastUse;
    for (let slot = list.first, after = 0; slot !== NO_SLOT && this.#table.holeCount < holes; slot = after) {
      after = list.after(slot);
      const neuron = this.#table.pointer[slot]!;
      if (!this.#isPinned(neuron) && !isMember(guess, neuron)) this.#vacate(slot, true);
    }
  }

  #evictByRank(holes: number): void {
    const { list, token } = this.#lastUse;
    const rank = this.#policy.evictionRank!;
    const candidates: { readonly slot: number; readonly rank: number }[] = [];
    for (let slot = list.first; slot !== NO_SLOT; slot = list.after(slot)) {
      const neuron = this.#table.pointer[slot]!;
      if (this.#lastUse.isOfStep(slot) || this.#isPinned(neuron)) continue;
      candidates.push({ slot, rank: rank(neuron, token) });
    }
    // Stable, so that equals stay in the order of the list.
    candidates.sort((a, b) => (a.rank === b.rank ? 0 : a.rank < b.rank ? 1 : -1));
    for (const { slot } of candidates.slice(0, holes - this.#table.holeCount)) this.#vacate(slot, true);
  }

  /** Evicts in order of the list, but not the step's neurons beyond `lastOfWave`, which are still to be computed. */
  #evictOldest(holes: number, lastOfWave: number, pinnedToo: boolean): void {
    const { list, lastKActive, tokenBefore } = this.#lastUse;
    const table = this.#table;
    for (let slot = list.first, after = 0; slot !== NO_SLOT && table.holeCount < holes; slot = after) {
      after = list.after(slot);
      const neuron = table.pointer[slot]!;
      const isLater = lastKActive[slot]! > tokenBefore && neuron > lastOfWave;
      if (!isLater && (pinnedToo || !this.#isPinned(neuron))) this.#vacate(slot, true);
    }
  }

  #evictFarthest(holes: number, named: Uint32Array, end: number, pinnedToo: boolean): void {
    for (let i = named.length - 1; i >= end && this.#table.holeCount < holes; i--) {
      const slot = this.#table.slotOf[named[i]!]!;
      if (slot !== ABSENT && (pinnedToo || !this.#isPinned(named[i]!))) this.#vacate(slot, true);
    }
  }

  #isPinned(neuron: number): boolean {
    return this.#policy.isPinned?.(neuron) ?? false;
  }

  /** @param pressed For want of room. */
  #vacate(slot: number, pressed: boolean): void {
    this.#lastUse.leave(slot, pressed);
    this.#policy.left?.(this.#table.pointer[slot]!);
    this.#table.vacate(slot);
  }
}
