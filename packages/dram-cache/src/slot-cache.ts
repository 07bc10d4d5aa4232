/**
 * One layer's neuron cache (LLM in a flash, 3.3; design, section 5): a preallocated matrix of slots, of which this is the
 * bookkeeping. Decides, moves no bytes.
 *
 * Invariants, after every wave:
 * - slots 0 … numUsed − 1 are in use, the others are not;
 * - `pointer` (slot -> neuron) and `slotOf` (neuron -> slot) are inverse to each other;
 * - every neuron of the wave is resident;
 * - what is decided depends on the sequence of calls alone.
 * Nothing is ever reallocated. A loaded neuron takes an evicted slot; surplus holes are filled from the tail.
 */
import { assert } from "@flashwick/core";
import type { CachePolicy } from "./cache-policy.js";
import type { CacheCounters, CacheWave, NeuronCache } from "./plan.js";

export interface NeuronCacheOptions {
  /** FFN neurons of the layer. */
  readonly dFf: number;
  /** At least 1; more than `dFf` are not used. */
  readonly slotCount: number;
  readonly policy: CachePolicy;
}

/** Slot numbers below this fit an Int16Array. */
const SMALL = 32768;

/** Why a slot may go, from first to last; `KEEP`: not in this wave. */
const KEEP = 0;
const FREE_TO_GO = 1;
const PINNED = 2;
const USED_ALREADY = 3;
const USED_LATER = 4;

export function createNeuronCache(options: NeuronCacheOptions): NeuronCache {
  return new SlotCache(options);
}

/**
 * DRAM that the bookkeeping of one layer takes: a part that depends on the layer's width, and a part for each slot.
 * Counted against the budget like the slots themselves.
 */
export function cacheBookkeepingBytes(dFf: number): { readonly fixedBytes: number; readonly slotBytes: number } {
  return { fixedBytes: dFf < SMALL ? 2 * dFf : 4 * dFf, slotBytes: 9 * 4 + 1 };
}

class SlotCache implements NeuronCache {
  readonly slotCount: number;
  readonly pointer: Uint32Array;
  readonly counters: CacheCounters = {
    tokens: 0,
    named: 0,
    hits: 0,
    misses: 0,
    evicted: 0,
    moves: 0,
    extraWaves: 0,
    seeded: 0,
  };
  readonly #policy: CachePolicy;
  /** Number of the last token that used the neuron in each slot: the paper's `last_k_active`. */
  readonly #lastKActive: Uint32Array;
  /** neuron -> slot, or -1. */
  readonly #slotOf: Int16Array | Int32Array;
  /** Per slot: whether it may go in this wave, and why not yet. */
  readonly #standing: Uint8Array;
  /** Holes of the wave in progress, ascending, and room to order them. */
  readonly #holes: Uint32Array;
  readonly #slots: Uint32Array;
  readonly #hits: Uint32Array;
  readonly #misses: Uint32Array;
  readonly #moves: Uint32Array;
  readonly #seeded: Uint32Array;
  #numUsed = 0;
  #token = 0;

  constructor({ dFf, slotCount, policy }: NeuronCacheOptions) {
    assert(slotCount >= 1 && dFf >= 1, "at least one slot and one neuron");
    const slots = Math.min(slotCount, dFf);
    this.slotCount = slots;
    this.#policy = policy;
    this.pointer = new Uint32Array(slots);
    this.#lastKActive = new Uint32Array(slots);
    this.#slotOf = (dFf < SMALL ? new Int16Array(dFf) : new Int32Array(dFf)).fill(-1);
    this.#standing = new Uint8Array(slots);
    this.#holes = new Uint32Array(slots);
    this.#slots = new Uint32Array(slots);
    this.#hits = new Uint32Array(slots);
    this.#misses = new Uint32Array(slots);
    this.#moves = new Uint32Array(2 * slots);
    this.#seeded = new Uint32Array(slots);
  }

  get numUsed(): number {
    return this.#numUsed;
  }

  get lastKActive(): Uint32Array {
    return this.#lastKActive;
  }

  slotOf(neuron: number): number {
    return this.#slotOf[neuron]!;
  }

  clear(): void {
    for (let slot = 0; slot < this.#numUsed; slot++) this.#slotOf[this.pointer[slot]!] = -1;
    this.#numUsed = 0;
  }

  *admit(named: Uint32Array): Generator<CacheWave> {
    this.#token++;
    this.#policy.observe?.(named);
    this.counters.tokens++;
    this.counters.named += named.length;
    const waves = Math.max(1, Math.ceil(named.length / this.slotCount));
    this.counters.extraWaves += waves - 1;
    for (let w = 0; w < waves; w++) {
      const begin = w * this.slotCount;
      yield this.#wave(named, begin, Math.min(begin + this.slotCount, named.length), w === 0);
    }
  }

  seed(sets: readonly Uint32Array[]): CacheWave {
    this.clear();
    const first = this.#token + 1;
    this.#token += sets.length;
    const kept = Math.min(sets.length, this.#policy.windowTokens);
    let n = 0;
    // Newest first, so that what does not fit is the oldest.
    for (let age = 0; age < kept && n < this.slotCount; age++) {
      const set = sets[sets.length - 1 - age]!;
      for (let i = 0; i < set.length && n < this.slotCount; i++) {
        const neuron = set[i]!;
        if (this.#slotOf[neuron]! >= 0) continue;
        this.#slotOf[neuron] = 0;
        this.#seeded[n++] = neuron;
      }
    }
    const neurons = this.#seeded.subarray(0, n).sort();
    for (let slot = 0; slot < n; slot++) {
      const neuron = neurons[slot]!;
      this.pointer[slot] = neuron;
      this.#slotOf[neuron] = slot;
      this.#slots[slot] = this.#misses[slot] = slot;
    }
    for (const [i, set] of sets.entries()) {
      for (const neuron of set) if (this.#slotOf[neuron]! >= 0) this.#lastKActive[this.#slotOf[neuron]!] = first + i;
    }
    this.#numUsed = n;
    this.counters.seeded += n;
    const none = this.#hits.subarray(0, 0);
    const all = this.#slots.subarray(0, n);
    return { neurons, slots: all, hits: none, misses: this.#misses.subarray(0, n), moves: none, evicted: 0 };
  }

  /** Plans neurons [begin, end) of the token's set. */
  #wave(named: Uint32Array, begin: number, end: number, isFirst: boolean): CacheWave {
    const neurons = named.subarray(begin, end);
    const { hits, misses } = this.#look(neurons);
    this.#rate(named, begin, end);
    const holeCount = this.#chooseHoles(misses, isFirst);
    const moveCount = this.#place(neurons, misses, holeCount);
    for (let i = 0; i < neurons.length; i++) this.#slots[i] = this.#slotOf[neurons[i]!]!;
    this.counters.hits += hits;
    this.counters.misses += misses;
    this.counters.evicted += holeCount;
    this.counters.moves += moveCount;
    return {
      neurons,
      slots: this.#slots.subarray(0, neurons.length),
      hits: this.#hits.subarray(0, hits),
      misses: this.#misses.subarray(0, misses),
      moves: this.#moves.subarray(0, 2 * moveCount),
      evicted: holeCount,
    };
  }

  /** Sorts the wave into hits and misses, and stamps the hits with the token. */
  #look(neurons: Uint32Array): { hits: number; misses: number } {
    let hits = 0;
    let misses = 0;
    for (let i = 0; i < neurons.length; i++) {
      const slot = this.#slotOf[neurons[i]!]!;
      if (slot < 0) this.#misses[misses++] = i;
      else {
        this.#hits[hits++] = i;
        this.#lastKActive[slot] = this.#token;
      }
    }
    return { hits, misses };
  }

  /** Says of every used slot whether it may go in this wave. */
  #rate(named: Uint32Array, begin: number, end: number): void {
    const { isPinned } = this.#policy;
    for (let slot = 0; slot < this.#numUsed; slot++) {
      this.#standing[slot] = isPinned?.(this.pointer[slot]!) ? PINNED : FREE_TO_GO;
    }
    const mark = (from: number, to: number, standing: number) => {
      for (let i = from; i < to; i++) {
        const slot = this.#slotOf[named[i]!]!;
        if (slot >= 0) this.#standing[slot] = standing;
      }
    };
    mark(0, begin, USED_ALREADY);
    mark(end, named.length, USED_LATER);
    mark(begin, end, KEEP);
  }

  /**
   * Chooses the slots to vacate into `#holes`, ascending: what has left the window, and as many more as the misses need.
   */
  #chooseHoles(misses: number, isFirst: boolean): number {
    const { windowTokens } = this.#policy;
    let count = 0;
    if (isFirst && windowTokens !== Number.POSITIVE_INFINITY) {
      for (let slot = 0; slot < this.#numUsed; slot++) {
        if (this.#standing[slot] === FREE_TO_GO && this.#token - this.#lastKActive[slot]! >= windowTokens) {
          this.#holes[count++] = slot;
          this.#standing[slot] = KEEP;
        }
      }
    }
    const more = misses - count - (this.slotCount - this.#numUsed);
    if (more <= 0) return count;
    const victims = this.#victims(more);
    for (const slot of victims) this.#holes[count++] = slot;
    this.#holes.subarray(0, count).sort();
    return count;
  }

  /** The `count` slots to give up under pressure: by standing, then by rank or age, then by neuron. */
  #victims(count: number): number[] {
    const { evictionRank } = this.#policy;
    const candidates: number[] = [];
    for (let slot = 0; slot < this.#numUsed; slot++) if (this.#standing[slot] !== KEEP) candidates.push(slot);
    assert(candidates.length >= count, "a wave is no larger than the slots");
    if (candidates.length === count) return candidates;
    const rank = (slot: number) => {
      // Of what this token still needs, the farthest is needed last.
      if (this.#standing[slot] === USED_LATER) return this.pointer[slot]!;
      return evictionRank ? evictionRank(this.pointer[slot]!, this.#token) : this.#token - this.#lastKActive[slot]!;
    };
    const ranks = new Map(candidates.map((slot) => [slot, rank(slot)]));
    return candidates
      .sort(
        (a, b) =>
          this.#standing[a]! - this.#standing[b]! ||
          compareDescending(ranks.get(a)!, ranks.get(b)!) ||
          this.pointer[a]! - this.pointer[b]!,
      )
      .slice(0, count);
  }

  /** Gives the misses their slots and closes what holes are left; returns the number of moves. */
  #place(neurons: Uint32Array, misses: number, holeCount: number): number {
    for (let h = 0; h < holeCount; h++) this.#slotOf[this.pointer[this.#holes[h]!]!] = -1;
    const replaced = Math.min(misses, holeCount);
    const taken = this.#numUsed;
    for (let m = 0; m < misses; m++) {
      // Ascending neurons take ascending slots, so that neighbours on flash tend to be neighbours in memory.
      const slot = m < replaced ? this.#holes[m]! : this.#numUsed++;
      const neuron = neurons[this.#misses[m]!]!;
      this.pointer[slot] = neuron;
      this.#slotOf[neuron] = slot;
      this.#lastKActive[slot] = this.#token;
    }
    assert(this.#numUsed <= this.slotCount && (replaced === holeCount || this.#numUsed === taken), "holes or growth");
    return this.#fillHoles(replaced, holeCount);
  }

  /** Fills holes [first, count) from the tail, so that the used slots stay the first ones. */
  #fillHoles(first: number, count: number): number {
    let moves = 0;
    let last = count - 1;
    for (let h = first; h <= last; h++) {
      const hole = this.#holes[h]!;
      // A hole at the tail needs no filling.
      while (last >= h && this.#holes[last]! === this.#numUsed - 1) {
        this.#numUsed--;
        last--;
      }
      if (last < h) break;
      const tail = --this.#numUsed;
      const neuron = this.pointer[tail]!;
      this.pointer[hole] = neuron;
      this.#lastKActive[hole] = this.#lastKActive[tail]!;
      this.#slotOf[neuron] = hole;
      this.#moves[2 * moves] = tail;
      this.#moves[2 * moves + 1] = hole;
      moves++;
    }
    return moves;
  }
}

function compareDescending(a: number, b: number): number {
  return a === b ? 0 : a < b ? 1 : -1;
}
