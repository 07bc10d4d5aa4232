/**
 * One layer's neuron cache (LLM in a flash, 3.3): a preallocated matrix of slots, of which this is the bookkeeping.
 * Decides, moves no bytes.
 *
 * After every wave:
 * - slots 0 … numUsed − 1 are in use, the others are free (slot-table.ts);
 * - every neuron of the wave has a slot, and none of them had to leave for another;
 * - what leaves next is a matter of last use, and a tie always falls on the lower neuron (last-use.ts, eviction.ts);
 * - what is decided depends on the sequence of calls alone, never on a clock, a hash or the layout of the slots.
 *
 * A loaded neuron takes an evicted slot; surplus holes are filled from the tail, one copy each. All memory is allocated
 * by the constructor.
 *
 * Steps. What is admitted in one call is one step, of one token or of several; what is decided for it is decided for
 * the union of its sets. Members of the step do not expire before the next one.
 *
 * Waves. A step that exceeds the slots passes in ascending segments of its union. Pinned neurons stay: a segment is cut
 * so that the other slots hold it. But it is never cut below a quarter of the slots; where pinned neurons take more
 * than the rest, some of them leave.
 */
import { InputError } from "@flashwick/core";
import type { CachePolicy } from "./cache-policy.js";
import { Eviction } from "./eviction.js";
import { LastUse } from "./last-use.js";
import type { CacheCounters, CacheWave, NeuronCache } from "./plan.js";
import { chooseSeeds } from "./seeding.js";
import { ABSENT, SlotTable, slotNumberBytes } from "./slot-table.js";
import { checkSet, lowerBound, unionOf } from "./token-sets.js";

export interface NeuronCacheOptions {
  /** FFN neurons of the layer. */
  readonly dFf: number;
  /** At least 1; more than `dFf` are not used. */
  readonly slotCount: number;
  readonly policy: CachePolicy;
  /**
   * Room for the union of a step's sets, u32 `[dFf]`, which caches may share that are never asked for waves in between. Default: the cache's own,
   * 4 · dFf bytes beside `cacheBookkeepingBytes`.
   */
  readonly unionScratch?: Uint32Array;
}

/**
 * The least part of the slots that waves may use, whatever is pinned: shorter waves would be reads of a few records
 * each.
 */
const LEAST_WAVE_SHARE = 1 / 4;

/**
 * @throws {InputError} `INPUT_INVALID` if there is not at least one neuron and one slot.
 * Cost: allocates `cacheBookkeepingBytes`, and nothing that lasts afterwards.
 */
export function createNeuronCache(options: NeuronCacheOptions): NeuronCache {
  return new SlotCache(options);
}

/**
 * DRAM that the bookkeeping of one layer takes: a part that depends on the layer's width (a slot number for each neuron), and a part for each
 * slot. Counted against the budget like the slots themselves.
 */
export function cacheBookkeepingBytes(dFf: number): { readonly fixedBytes: number; readonly slotBytes: number } {
  return { fixedBytes: slotNumberBytes(dFf) * dFf + 8, slotBytes: 12 * 4 };
}

/** What was admitted together. */
interface Step {
  /** Those of each token, oldest first, without the tokens that were taken back. */
  readonly sets: readonly Uint32Array[];
  /** Those of all tokens that were admitted. */
  readonly admitted: readonly Uint32Array[];
  /** Their union; in scratch that other caches may share, so for the step's waves only. */
  readonly neurons: Uint32Array;
}

const NO_STEP: Step = { sets: [], admitted: [], neurons: new Uint32Array(0) };

class SlotCache implements NeuronCache {
  readonly slotCount: number;
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
    retracted: 0,
  };
  readonly #dFf: number;
  readonly #policy: CachePolicy;
  readonly #table: SlotTable;
  readonly #lastUse: LastUse;
  readonly #eviction: Eviction;
  /** Neurons that are brought in without being named. */
  readonly #seeds: Uint32Array;
  /** Room for the union of a step's sets. */
  readonly #union: Uint32Array;
  /** The last step, without the tokens that were taken back from it: what `retract` may still take back. */
  #step = NO_STEP;

  constructor({ dFf, slotCount, policy, unionScratch }: NeuronCacheOptions) {
    if (!(Number.isSafeInteger(dFf) && dFf >= 1 && Number.isSafeInteger(slotCount) && slotCount >= 1)) {
      throw new InputError(
        "INPUT_INVALID",
        `neuron cache: ${slotCount} slots for ${dFf} neurons, expected integers of at least 1`,
        { details: { dFf, slotCount } },
      );
    }
    this.#dFf = dFf;
    this.slotCount = Math.min(slotCount, dFf);
    this.#policy = policy;
    this.#table = new SlotTable(dFf, this.slotCount);
    this.#lastUse = new LastUse(this.#table);
    this.#eviction = new Eviction(policy, this.#table, this.#lastUse);
    this.#seeds = new Uint32Array(this.slotCount);
    this.#union = unionScratch ?? new Uint32Array(dFf);
  }

  get pointer(): Uint32Array {
    return this.#table.pointer;
  }

  get lastKActive(): Uint32Array {
    return this.#lastUse.lastKActive;
  }

  get numUsed(): number {
    return this.#table.numUsed;
  }

  get effectiveWindowTokens(): number {
    return Math.min(this.#policy.windowTokens, this.#lastUse.unbrokenTokens);
  }

  slotOf(neuron: number): number {
    return this.#table.slotOf[neuron]!;
  }

  clear(): void {
    this.#step = NO_STEP;
    for (let slot = 0; slot < this.numUsed; slot++) this.#policy.left?.(this.pointer[slot]!);
    this.#table.clear();
    this.#lastUse.clear();
  }

  *admit(named: Uint32Array | readonly Uint32Array[]): Generator<CacheWave> {
    const step = this.#newStep(named);
    this.#step = step;
    this.#lastUse.beginStep(step.sets.length);
    for (const set of step.sets) {
      this.#policy.observe?.(set);
      this.counters.named += set.length;
    }
    this.counters.tokens += step.sets.length;
    let begin = 0;
    do {
      const end = this.#waveEnd(step.neurons, begin);
      if (begin > 0) this.counters.extraWaves++;
      yield this.#wave(step, begin, end);
      begin = end;
    } while (begin < step.neurons.length);
  }

  retract(tokens: number): void {
    const { sets, admitted } = this.#step;
    if (!(Number.isSafeInteger(tokens) && tokens >= 0 && tokens <= sets.length)) {
      throw cannotRetract(tokens, sets.length);
    }
    if (tokens === 0) return;
    const remaining = sets.slice(0, sets.length - tokens);
    for (const set of sets.slice(remaining.length).reverse()) this.#policy.unobserve?.(set);
    // Anew: the scratch may have served another cache since.
    this.#lastUse.retract(remaining, unionOf(admitted, this.#union));
    this.counters.retracted += tokens;
    this.#step = { ...this.#step, sets: remaining };
  }

  seed(sets: readonly Uint32Array[], maxNeurons = this.slotCount): CacheWave {
    for (const [i, set] of sets.entries()) checkSet(set, `sets[${i}]`, this.#dFf);
    this.#step = NO_STEP;
    const [table, lastUse] = [this.#table, this.#lastUse];
    lastUse.beginAnew(sets.length);
    for (const set of sets) this.#policy.observe?.(set);
    const room = this.#seeds.subarray(0, Math.max(0, Math.min(this.slotCount, maxNeurons)));
    const neurons = room.subarray(0, chooseSeeds(sets, room, this.#policy, table, lastUse));
    table.beginWave();
    for (let slot = 0; slot < this.numUsed; slot++) {
      if (this.lastKActive[slot]! > 0) continue;
      this.#policy.left?.(this.pointer[slot]!);
      table.vacate(slot);
    }
    const wave = this.#settle(neurons, table.find(neurons));
    this.counters.seeded += wave.misses.length;
    lastUse.useInTurn(sets);
    lastUse.breakAtAbsent(sets);
    return wave;
  }

  anticipate(guess: Uint32Array, maxNeurons: number): CacheWave {
    checkSet(guess, "guess", this.#dFf);
    this.#step = NO_STEP;
    const table = this.#table;
    let absent = 0;
    for (let i = 0; i < guess.length && absent < Math.min(maxNeurons, this.slotCount); i++) {
      if (table.slotOf[guess[i]!] === ABSENT) this.#seeds[absent++] = guess[i]!;
    }
    table.beginWave();
    this.#eviction.evictUnguessed(absent - table.free, guess);
    const neurons = this.#seeds.subarray(0, Math.min(absent, table.free + table.holeCount));
    const wave = this.#settle(neurons, table.find(neurons), false);
    this.counters.anticipated += neurons.length;
    return wave;
  }

  fill(passing: Uint32Array): CacheWave {
    const room = this.#policy.windowTokens === Number.POSITIVE_INFINITY ? this.#table.free : 0;
    return this.anticipate(passing, room);
  }

  #newStep(named: Uint32Array | readonly Uint32Array[]): Step {
    if (named instanceof Uint32Array) {
      checkSet(named, "named", this.#dFf);
      return { sets: [named], admitted: [named], neurons: named };
    }
    if (named.length === 0) {
      throw new InputError("INPUT_INVALID", "named has no sets, expected one for each token, at least one");
    }
    for (const [i, set] of named.entries()) checkSet(set, `named[${i}]`, this.#dFf);
    const sets = [...named];
    return { sets, admitted: sets, neurons: sets.length === 1 ? sets[0]! : unionOf(sets, this.#union) };
  }

  /** Where the wave that begins at `begin` ends: as far as the slots reach that pinned neurons leave free. */
  #waveEnd(neurons: Uint32Array, begin: number): number {
    const { isPinned } = this.#policy;
    const longest = Math.min(neurons.length, begin + this.slotCount);
    const leastRoom = Math.ceil(this.slotCount * LEAST_WAVE_SHARE);
    if (isPinned === null || longest - begin <= leastRoom) return longest;
    let pinned = 0;
    for (let slot = 0; slot < this.numUsed; slot++) if (isPinned(this.pointer[slot]!)) pinned++;
    let room = Math.max(this.slotCount - pinned, leastRoom);
    for (let i = begin; i < longest; i++) {
      const neuron = neurons[i]!;
      if (this.slotOf(neuron) !== ABSENT && isPinned(neuron)) continue;
      if (room-- === 0) return i;
    }
    return longest;
  }

  /** Plans neurons [begin, end) of the step. */
  #wave({ sets, neurons: all }: Step, begin: number, end: number): CacheWave {
    const [table, lastUse] = [this.#table, this.#lastUse];
    const neurons = all.subarray(begin, end);
    table.beginWave();
    const misses = table.find(neurons);
    lastUse.list.removeAll(table.slots, table.hits.subarray(0, neurons.length - misses.length));
    if (begin === 0) {
      // What later waves need has been used by this step, so it neither expires nor ranks as old.
      if (end < all.length) lastUse.useInTurn(sets, all[end]!);
      this.#eviction.expire();
    }
    this.#eviction.makeRoom(misses.length, all, end);
    const wave = this.#settle(neurons, misses);
    if (sets.length > 1) lastUse.useInTurn(sets);
    this.counters.hits += countUses(sets, neurons) - misses.length;
    this.counters.misses += misses.length;
    return wave;
  }

  /**
   * Gives the neurons of a wave their slots, stamps them, closes what holes are left, and tells the wave.
   *
   * @param misses Of the wave, found when all that leaves for it was still there, or later.
   * @param used   False: by no token yet.
   */
  #settle(neurons: Uint32Array, misses: Uint32Array, used = true): CacheWave {
    const [table, lastUse] = [this.#table, this.#lastUse];
    const { entered } = this.#policy;
    if (entered) for (let i = 0; i < misses.length; i++) entered(neurons[misses[i]!]!);
    const moves = table.settle(neurons, misses);
    const slots = table.slots.subarray(0, neurons.length);
    if (used) lastUse.use(slots);
    else lastUse.leaveUnused(slots);
    if (moves.length > 0) {
      lastUse.move(moves);
      // A move may have carried a hit to another slot.
      table.lookUp(neurons);
    }
    this.counters.evicted += table.holeCount;
    this.counters.moves += moves.length / 2;
    const hits = table.hits.subarray(0, neurons.length - misses.length);
    return { neurons, slots, hits, misses, moves, evicted: table.holeCount };
  }
}

/** How often the sets name a stretch of their union. */
function countUses(sets: readonly Uint32Array[], neurons: Uint32Array): number {
  if (sets.length === 1 || neurons.length === 0) return neurons.length;
  const [first, last] = [neurons[0]!, neurons.at(-1)!];
  return sets.reduce((sum, set) => sum + lowerBound(set, last + 1) - lowerBound(set, first), 0);
}

function cannotRetract(tokens: number, most: number): InputError {
  const found = `cannot retract ${tokens} tokens of a neuron cache`;
  const expected =
    most > 0
      ? `expected at most the ${most} that are left of those admitted last`
      : "expected none: retract right after admit, before seed, clear or anticipate";
  return new InputError("INPUT_INVALID", `${found}, ${expected}`, { details: { tokens, most } });
}
