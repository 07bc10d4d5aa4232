/**
 * One layer's neuron cache (LLM in a flash, 3.3): a preallocated matrix of slots, of which this is the bookkeeping.
 * Decides, moves no bytes.
 *
 * Every neuron of the layer is either absent (`slotOf` says so) or in exactly one slot. Every slot is either free or in use. After
 * every wave:
 * - slots 0 … numUsed − 1 are in use, the others are free;
 * - `pointer` (slot -> neuron) and `slotOf` (neuron -> slot) are inverse to each other;
 * - every neuron of the wave has a slot, and none of them had to leave for another;
 * - the recency list holds the slots in use, by last use and, within a token, by neuron: hence the first of the list is what
 *   to evict next, and a tie always falls on the lower neuron;
 * - what is decided depends on the sequence of calls alone, never on a clock, a hash or the layout of the slots.
 *
 * During a wave its resident neurons are off the list, which is why they cannot be evicted. A loaded neuron takes an evicted slot;
 * surplus holes are filled from the tail, one copy each. All memory is allocated by the constructor.
 *
 * Waves. A set that exceeds the slots passes in ascending segments. Room for a segment is taken first from neurons that the
 * token does not name (policy order), then from segments already computed, then from the far end of those to come.
 * Pinned neurons stay: a segment is cut so that the other slots hold it. But it is never cut below a quarter of the slots;
 * where pinned neurons take more than the rest, some of them leave, in the same order.
 */
import { assert, InputError } from "@flashwick/core";
import type { CachePolicy } from "./cache-policy.js";
import { planLanding } from "./landing-plan.js";
import type { CacheCounters, CacheWave, NeuronCache } from "./plan.js";
import { NO_SLOT, RecencyList } from "./recency-list.js";

export interface NeuronCacheOptions {
  /** FFN neurons of the layer. */
  readonly dFf: number;
  /** At least 1; more than `dFf` are not used. */
  readonly slotCount: number;
  readonly policy: CachePolicy;
}

/** Slot numbers below this fit an Int16Array. */
const SMALL = 32768;

/** In place of a slot: the neuron is absent, or absent and about to be loaded by `seed`. */
const ABSENT = -1;
const WANTED = -2;

/** The least part of the slots that waves may use, whatever is pinned: shorter waves would be reads of a few records each. */
const LEAST_WAVE_SHARE = 1 / 4;

/**
 * @throws {InputError} `INPUT_INVALID` if there is not at least one neuron and one slot.
 * Cost: allocates `cacheBookkeepingBytes`, and nothing that lasts afterwards.
 */
export function createNeuronCache(options: NeuronCacheOptions): NeuronCache {
  return new SlotCache(options);
}

/**
 * DRAM that the bookkeeping of one layer takes: a part that depends on the layer's width, and a part for each slot.
 * Counted against the budget like the slots themselves.
 */
export function cacheBookkeepingBytes(dFf: number): { readonly fixedBytes: number; readonly slotBytes: number } {
  return { fixedBytes: (dFf < SMALL ? 2 : 4) * dFf + 8, slotBytes: 11 * 4 };
}

class SlotCache implements NeuronCache {
  readonly slotCount: number;
  readonly pointer: Uint32Array;
  /** The paper's `last_k_active`, as a number instead of a set: the window is read off it. */
  readonly lastKActive: Uint32Array;
  readonly counters: CacheCounters = {
    tokens: 0,
    named: 0,
    hits: 0,
    misses: 0,
    evicted: 0,
    moves: 0,
    extraWaves: 0,
    seeded: 0,
    anticipated: 0,
  };
  readonly #dFf: number;
  readonly #policy: CachePolicy;
  /** neuron -> slot, or ABSENT. */
  readonly #slotOf: Int16Array | Int32Array;
  readonly #recency: RecencyList;
  /** Slots vacated by the wave in progress: the first `#holeCount`. */
  readonly #holes: Uint32Array;
  #holeCount = 0;
  /** Buffers behind the arrays of a wave. */
  readonly #slots: Uint32Array;
  readonly #hits: Uint32Array;
  readonly #misses: Uint32Array;
  readonly #moves: Uint32Array;
  readonly #seeds: Uint32Array;
  #numUsed = 0;
  #token = 0;
  /** The last token that has lost a neuron to pressure (or to `clear`). */
  #brokenToken = 0;

  constructor({ dFf, slotCount, policy }: NeuronCacheOptions) {
    if (!(Number.isSafeInteger(dFf) && dFf >= 1 && Number.isSafeInteger(slotCount) && slotCount >= 1)) {
      throw new InputError(
        "INPUT_INVALID",
        `neuron cache: ${slotCount} slots for ${dFf} neurons, expected integers of at least 1`,
        { details: { dFf, slotCount } },
      );
    }
    const slots = Math.min(slotCount, dFf);
    this.#dFf = dFf;
    this.slotCount = slots;
    this.#policy = policy;
    this.pointer = new Uint32Array(slots);
    this.lastKActive = new Uint32Array(slots);
    this.#slotOf = (dFf < SMALL ? new Int16Array(dFf) : new Int32Array(dFf)).fill(ABSENT);
    this.#recency = new RecencyList(slots);
    this.#holes = new Uint32Array(slots);
    this.#slots = new Uint32Array(slots);
    this.#hits = new Uint32Array(slots);
    this.#misses = new Uint32Array(slots);
    this.#moves = new Uint32Array(2 * slots);
    this.#seeds = new Uint32Array(slots);
  }

  get numUsed(): number {
    return this.#numUsed;
  }

  get effectiveWindowTokens(): number {
    return Math.min(this.#policy.windowTokens, this.#token - this.#brokenToken);
  }

  slotOf(neuron: number): number {
    return this.#slotOf[neuron]!;
  }

  clear(): void {
    for (let slot = 0; slot < this.#numUsed; slot++) this.#forget(slot);
    this.#recency.clear();
    this.#numUsed = 0;
    this.#brokenToken = this.#token;
  }

  *admit(named: Uint32Array): Generator<CacheWave> {
    this.#check(named, "named");
    this.#token++;
    this.#policy.observe?.(named);
    this.counters.tokens++;
    this.counters.named += named.length;
    let begin = 0;
    do {
      const end = this.#waveEnd(named, begin);
      if (begin > 0) this.counters.extraWaves++;
      yield this.#wave(named, begin, end);
      begin = end;
    } while (begin < named.length);
  }

  seed(sets: readonly Uint32Array[], maxNeurons = this.slotCount): CacheWave {
    for (const [i, set] of sets.entries()) this.#check(set, `sets[${i}]`);
    const tokenBefore = this.#token;
    this.#token += sets.length;
    for (const set of sets) this.#policy.observe?.(set);
    this.#recency.clear();
    // Stamp 0, no token's, marks what nothing has asked for.
    this.lastKActive.fill(0, 0, this.#numUsed);
    const neurons = this.#seeds.subarray(0, this.#chooseSeeds(sets, maxNeurons)).sort();
    this.#holeCount = 0;
    for (let slot = 0; slot < this.#numUsed; slot++) {
      if (this.lastKActive[slot]! > 0) continue;
      this.#forget(slot);
      this.#holes[this.#holeCount++] = slot;
    }
    const wave = this.#settle(neurons);
    this.counters.seeded += wave.misses.length;
    this.#stampSeeds(sets, tokenBefore);
    return wave;
  }

  anticipate(guess: Uint32Array, maxNeurons: number): CacheWave {
    this.#check(guess, "guess");
    let absent = 0;
    for (let i = 0; i < guess.length && absent < Math.min(maxNeurons, this.slotCount); i++) {
      if (this.#slotOf[guess[i]!] === ABSENT) this.#seeds[absent++] = guess[i]!;
    }
    const free = this.slotCount - this.#numUsed;
    this.#holeCount = 0;
    this.#evictUnguessed(absent - free, guess);
    const neurons = this.#seeds.subarray(0, Math.min(absent, free + this.#holeCount));
    const wave = this.#settle(neurons, false);
    this.counters.anticipated += neurons.length;
    return wave;
  }

  /** Evicts the oldest that are neither guessed nor pinned, at most `holes`. */
  #evictUnguessed(holes: number, guess: Uint32Array): void {
    for (let slot = this.#recency.first, after = 0; slot !== NO_SLOT && this.#holeCount < holes; slot = after) {
      after = this.#recency.after(slot);
      const neuron = this.pointer[slot]!;
      if (!this.#isPinned(neuron) && !isMember(guess, neuron)) this.#evict(slot);
    }
  }

  #check(set: Uint32Array, what: string): void {
    let least = 0;
    for (let i = 0; i < set.length; i++) {
      const neuron = set[i]!;
      if (neuron < least || neuron >= this.#dFf) throw notASet(what, set, i, this.#dFf);
      least = neuron + 1;
    }
  }

  /** Where the wave that begins at `begin` ends: as far as the slots reach that pinned neurons leave free. */
  #waveEnd(named: Uint32Array, begin: number): number {
    const { isPinned } = this.#policy;
    const longest = Math.min(named.length, begin + this.slotCount);
    const leastRoom = Math.ceil(this.slotCount * LEAST_WAVE_SHARE);
    if (isPinned === null || longest - begin <= leastRoom) return longest;
    let pinned = 0;
    for (let slot = 0; slot < this.#numUsed; slot++) if (isPinned(this.pointer[slot]!)) pinned++;
    let room = Math.max(this.slotCount - pinned, leastRoom);
    for (let i = begin; i < longest; i++) {
      const neuron = named[i]!;
      if (this.#slotOf[neuron] !== ABSENT && isPinned(neuron)) continue;
      if (room-- === 0) return i;
    }
    return longest;
  }

  /** Plans neurons [begin, end) of the token's set. */
  #wave(named: Uint32Array, begin: number, end: number): CacheWave {
    const neurons = named.subarray(begin, end);
    this.#holeCount = 0;
    const hits = this.#takeOffList(neurons);
    if (begin === 0) {
      this.#touchLater(named, end);
      this.#expire();
    }
    this.#makeRoom(neurons.length - hits, named, end);
    const wave = this.#settle(neurons);
    this.counters.hits += wave.hits.length;
    this.counters.misses += wave.misses.length;
    return wave;
  }

  /** Takes the resident neurons of a wave off the list, so that nothing evicts them; returns how many. */
  #takeOffList(neurons: Uint32Array): number {
    const slotOf = this.#slotOf;
    const recency = this.#recency;
    let hits = 0;
    for (let i = 0; i < neurons.length; i++) {
      const slot = slotOf[neurons[i]!]!;
      if (slot === ABSENT) continue;
      recency.remove(slot);
      hits++;
    }
    return hits;
  }

  /** What later waves of this token need has been used by this token, so it neither expires nor ranks as old. */
  #touchLater(named: Uint32Array, end: number): void {
    for (let i = end; i < named.length; i++) {
      const slot = this.#slotOf[named[i]!]!;
      if (slot === ABSENT) continue;
      this.#recency.remove(slot);
      this.#recency.append(slot);
      this.lastKActive[slot] = this.#token;
    }
  }

  /** Vacates what has left the window: `evict = resident \ union of the last k sets` (LLM in a flash, 3.3). */
  #expire(): void {
    const newestExpired = this.#token - this.#policy.windowTokens;
    for (let slot = this.#recency.first, after = 0; slot !== NO_SLOT; slot = after) {
      if (this.lastKActive[slot]! > newestExpired) return;
      after = this.#recency.after(slot);
      if (!this.#isPinned(this.pointer[slot]!)) this.#vacate(slot);
    }
  }

  /** Vacates what `misses` neurons need beyond free and vacated slots; the order of victims is in the head of this file. */
  #makeRoom(misses: number, named: Uint32Array, end: number): void {
    const holes = misses - (this.slotCount - this.#numUsed);
    if (this.#holeCount >= holes) return;
    if (this.#policy.evictionRank) this.#evictByRank(holes);
    for (const pinnedToo of this.#policy.isPinned ? [false, true] : [true]) {
      this.#evictOldest(holes, named[end - 1]!, pinnedToo);
      this.#evictFarthest(holes, named, end, pinnedToo);
    }
    assert(this.#holeCount === holes, "a wave is no larger than the slots");
  }

  #evictByRank(holes: number): void {
    const rank = this.#policy.evictionRank!;
    const candidates: { readonly slot: number; readonly rank: number }[] = [];
    for (let slot = this.#recency.first; slot !== NO_SLOT; slot = this.#recency.after(slot)) {
      const neuron = this.pointer[slot]!;
      if (this.lastKActive[slot] === this.#token || this.#isPinned(neuron)) continue;
      candidates.push({ slot, rank: rank(neuron, this.#token) });
    }
    // Stable, so that equals stay in the order of the list.
    candidates.sort((a, b) => (a.rank === b.rank ? 0 : a.rank < b.rank ? 1 : -1));
    for (const { slot } of candidates.slice(0, holes - this.#holeCount)) this.#evict(slot);
  }

  /** Evicts in order of the list, but not this token's neurons beyond `lastOfWave`, which are still to be computed. */
  #evictOldest(holes: number, lastOfWave: number, pinnedToo: boolean): void {
    for (let slot = this.#recency.first, after = 0; slot !== NO_SLOT && this.#holeCount < holes; slot = after) {
      after = this.#recency.after(slot);
      const neuron = this.pointer[slot]!;
      const isLater = this.lastKActive[slot] === this.#token && neuron > lastOfWave;
      if (!isLater && (pinnedToo || !this.#isPinned(neuron))) this.#evict(slot);
    }
  }

  #evictFarthest(holes: number, named: Uint32Array, end: number, pinnedToo: boolean): void {
    for (let i = named.length - 1; i >= end && this.#holeCount < holes; i--) {
      const slot = this.#slotOf[named[i]!]!;
      if (slot !== ABSENT && (pinnedToo || !this.#isPinned(named[i]!))) this.#evict(slot);
    }
  }

  #isPinned(neuron: number): boolean {
    return this.#policy.isPinned?.(neuron) ?? false;
  }

  /** Vacates under pressure, which shortens the effective window. */
  #evict(slot: number): void {
    this.#brokenToken = Math.max(this.#brokenToken, this.lastKActive[slot]!);
    this.#vacate(slot);
  }

  #vacate(slot: number): void {
    this.#recency.remove(slot);
    this.#forget(slot);
    this.#holes[this.#holeCount++] = slot;
  }

  #forget(slot: number): void {
    const neuron = this.pointer[slot]!;
    this.#slotOf[neuron] = ABSENT;
    this.#policy.left?.(neuron);
  }

  /**
   * Gives the neurons of a wave their slots, stamps them, closes what holes are left, and tells the wave.
   *
   * @param used False: by no token yet.
   */
  #settle(neurons: Uint32Array, used = true): CacheWave {
    const misses = this.#findSlots(neurons);
    const { entered } = this.#policy;
    if (entered) for (let i = 0; i < misses.length; i++) entered(neurons[misses[i]!]!);
    const vacant = this.#vacantSlots(misses.length);
    const usedAfter = this.#numUsed - vacant.length + misses.length;
    // Nothing lands behind the last slot that will be in use: a hole there closes by itself.
    let below = vacant.length;
    while (below > 0 && vacant[below - 1]! >= usedAfter) below--;
    planLanding(neurons, misses, vacant.subarray(0, below), this.#slots);
    this.#land(neurons, misses);
    if (used) this.#stamp(neurons);
    else this.#stampUnused(neurons);
    const moves = this.#closeHoles(vacant, below, usedAfter);
    // A move may have carried a hit to another slot.
    if (moves > 0) for (let i = 0; i < neurons.length; i++) this.#slots[i] = this.#slotOf[neurons[i]!]!;
    this.counters.evicted += this.#holeCount;
    this.counters.moves += moves;
    return {
      neurons,
      slots: this.#slots.subarray(0, neurons.length),
      hits: this.#hits.subarray(0, neurons.length - misses.length),
      misses,
      moves: this.#moves.subarray(0, 2 * moves),
      evicted: this.#holeCount,
    };
  }

  /** Sorts a wave into hits, whose slots are looked up, and misses, which are returned. */
  #findSlots(neurons: Uint32Array): Uint32Array {
    const [slotOf, slots, hits, misses] = [this.#slotOf, this.#slots, this.#hits, this.#misses];
    let count = 0;
    for (let i = 0; i < neurons.length; i++) {
      const slot = slotOf[neurons[i]!]!;
      if (slot < 0) misses[count++] = i;
      else {
        slots[i] = slot;
        hits[i - count] = i;
      }
    }
    return misses.subarray(0, count);
  }

  /** The holes, and as many free slots as `misses` need beyond them, ascending. */
  #vacantSlots(misses: number): Uint32Array {
    this.#holes.subarray(0, this.#holeCount).sort();
    let count = this.#holeCount;
    while (count < misses) this.#holes[count++] = this.#numUsed++;
    assert(this.#numUsed <= this.slotCount, "room was made for every miss");
    return this.#holes.subarray(0, count);
  }

  #land(neurons: Uint32Array, misses: Uint32Array): void {
    for (let m = 0; m < misses.length; m++) {
      const neuron = neurons[misses[m]!]!;
      const slot = this.#slots[misses[m]!]!;
      this.pointer[slot] = neuron;
      this.#slotOf[neuron] = slot;
    }
  }

  /** Makes a wave's neurons, which have their slots, the most recently used. */
  #stamp(neurons: Uint32Array): void {
    const [slots, recency, lastKActive, token] = [this.#slots, this.#recency, this.lastKActive, this.#token];
    for (let i = 0; i < neurons.length; i++) {
      const slot = slots[i]!;
      lastKActive[slot] = token;
      recency.append(slot);
    }
  }

  /** Stamp 0 is no token's; the lowest neuron goes first. */
  #stampUnused(neurons: Uint32Array): void {
    for (let i = neurons.length - 1; i >= 0; i--) {
      const slot = this.#slots[i]!;
      this.lastKActive[slot] = 0;
      this.#recency.prepend(slot);
    }
  }

  /**
   * Moves what is in use at or behind `usedAfter` into the holes that are left, the first of `vacant`.
   *
   * @param below Vacant slots from this index on are not below `usedAfter`.
   * @returns The number of moves.
   */
  #closeHoles(vacant: Uint32Array, below: number, usedAfter: number): number {
    let moves = 0;
    let behind = vacant.length - 1;
    for (let slot = this.#numUsed - 1; slot >= usedAfter; slot--) {
      if (behind >= below && vacant[behind] === slot) {
        behind--;
        continue;
      }
      this.#move(slot, vacant[moves]!);
      this.#moves[2 * moves] = slot;
      this.#moves[2 * moves + 1] = vacant[moves]!;
      moves++;
    }
    this.#numUsed = usedAfter;
    return moves;
  }

  #move(from: number, to: number): void {
    const neuron = this.pointer[from]!;
    this.pointer[to] = neuron;
    this.lastKActive[to] = this.lastKActive[from]!;
    this.#slotOf[neuron] = to;
    this.#recency.replace(from, to);
  }

  /**
   * Chooses what `seed` makes resident, into `#seeds` in no order: the newest set, then pinned neurons of the others, then
   * the others of the window, newest first. Of a set that does not fit, the lower neurons are left out, as eviction would.
   */
  #chooseSeeds(sets: readonly Uint32Array[], maxNeurons: number): number {
    const { windowTokens, isPinned } = this.#policy;
    let count = 0;
    const want = (set: Uint32Array, only: ((neuron: number) => boolean) | null) => {
      for (let i = set.length - 1; i >= 0 && count < Math.min(this.slotCount, maxNeurons); i--) {
        if ((only === null || only(set[i]!)) && this.#want(set[i]!)) this.#seeds[count++] = set[i]!;
      }
    };
    const newestFirst = sets.toReversed();
    for (const [age, set] of newestFirst.entries()) if (age === 0 || isPinned) want(set, age === 0 ? null : isPinned);
    for (const [age, set] of newestFirst.entries()) if (age > 0 && age < windowTokens) want(set, null);
    return count;
  }

  /** Marks a neuron for `seed`; false if it was marked before. */
  #want(neuron: number): boolean {
    const slot = this.#slotOf[neuron]!;
    if (slot === WANTED || (slot >= 0 && this.lastKActive[slot]! > 0)) return false;
    if (slot >= 0) this.lastKActive[slot] = this.#token;
    else this.#slotOf[neuron] = WANTED;
    return true;
  }

  /** Stamps and orders what `seed` made resident by each neuron's last set. */
  #stampSeeds(sets: readonly Uint32Array[], tokenBefore: number): void {
    this.#brokenToken = tokenBefore;
    for (const [age, set] of sets.entries()) {
      const token = tokenBefore + age + 1;
      for (const neuron of set) {
        const slot = this.#slotOf[neuron]!;
        if (slot === ABSENT) {
          this.#brokenToken = token;
          continue;
        }
        this.lastKActive[slot] = token;
        this.#recency.remove(slot);
        this.#recency.append(slot);
      }
    }
  }
}

/** Binary search in an ascending set. */
function isMember(set: Uint32Array, neuron: number): boolean {
  let low = 0;
  let high = set.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (set[middle]! < neuron) low = middle + 1;
    else high = middle;
  }
  return set[low] === neuron;
}

function notASet(what: string, set: Uint32Array, index: number, dFf: number): InputError {
  const expected = index === 0 ? `a neuron below ${dFf}` : `a neuron above ${set[index - 1]} and below ${dFf}`;
  return new InputError("INPUT_INVALID", `${what}[${index}] is ${set[index]}, expected ${expected}; sort the set`, {
    details: { what, index, found: set[index], dFf },
  });
}
