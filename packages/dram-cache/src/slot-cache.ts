/**
 * A cache of units, neurons or experts, of one layer or of all layers of a pool (LLM in a flash, 3.3): a preallocated
 * matrix of slots, of which this is the bookkeeping. Decides, moves no bytes.
 *
 * After every wave:
 * - slots 0 … numUsed − 1 are in use, the others are free (slot-table.ts);
 * - every unit of the wave has a slot, and none of them had to leave for another;
 * - what leaves next is a matter of last use, and a tie always falls on the lower unit (last-use.ts, eviction.ts), unless
 *   the policy has an order of its own;
 * - what is decided depends on the sequence of calls alone, never on a clock, a hash or the layout of the slots.
 *
 * A loaded neuron takes an evicted slot; surplus holes are filled from the tail, one copy each. All memory is allocated
 * by the constructor.
 *
 * Steps. What is admitted in one call is of one token or of several; what is decided for it is decided for the union of
 * its sets. Its members do not expire before the next step.
 *
 * Pools. Unit u of a pool belongs to layer ⌊u · nLayers / dFf⌋. One admit names units of one layer, and a step is the
 * admits of rising layers; the next token begins where the layer does not rise. A window moves layer by layer: what is k
 * tokens old leaves when its layer is admitted.
 *
 * Waves. A step that exceeds the slots passes in ascending segments of its union. Pinned neurons stay: a segment is cut
 * so that the other slots hold it. But it is never cut below a quarter of the slots; where pinned neurons take more
 * than the rest, some of them leave.
 */
import { InputError } from "@flashwick/core";
import type { CachePolicy, EvictionOrder } from "./cache-policy.js";
import { Eviction } from "./eviction.js";
import { LastUse } from "./last-use.js";
import { lruPolicy } from "./lru-policy.js";
import type { CacheCounters, CacheWave, NeuronCache } from "./plan.js";
import { residentsOf } from "./residents.js";
import { chooseSeeds } from "./seeding.js";
import { ABSENT, SlotTable, slotNumberBytes } from "./slot-table.js";
import { readStep, type Step } from "./step.js";
import { checkSet, lowerBound, unionOf } from "./token-sets.js";

/** Size and policy of a cache. */
export interface NeuronCacheOptions {
  /** Units: the neurons or experts of the layer, or of all layers of a pool. */
  readonly dFf: number;
  /** Layers that share the slots as a pool; divides `dFf`. Default 1: the cache is one layer's. */
  readonly nLayers?: number;
  /** At least 1; more than `dFf` are not used. */
  readonly slotCount: number;
  /** What leaves first. Default {@link lruPolicy}: whatever fits stays, and the units used longest ago leave. */
  readonly policy?: CachePolicy;
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
 * @throws {InputError} `INPUT_INVALID` if there is not at least one unit and one slot, or units do not divide by layers.
 * Cost: allocates `cacheBookkeepingBytes` and what the policy's order needs, and nothing that lasts afterwards.
 */
export function createNeuronCache(options: NeuronCacheOptions): NeuronCache {
  return new SlotCache(options);
}

/**
 * DRAM that the bookkeeping of a cache takes: a part that depends on its units (a slot number for each, and what the
 * policy's order keeps of each), and a part for each slot. Counted against the budget like the slots themselves.
 *
 * @param dFf Units, of all layers of a pool.
 */
export function cacheBookkeepingBytes(
  dFf: number,
  { nLayers = 1, policy }: { readonly nLayers?: number; readonly policy?: CachePolicy } = {},
): { readonly fixedBytes: number; readonly slotBytes: number } {
  const orderBytes = policy?.orderBytes?.(dFf) ?? 0;
  return { fixedBytes: slotNumberBytes(dFf) * dFf + 8 * nLayers + orderBytes, slotBytes: 12 * 4 };
}

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
  readonly #order: EvictionOrder | null;
  readonly #eviction: Eviction;
  /** Neurons that are brought in without being named. */
  readonly #seeds: Uint32Array;
  /** Room for the union of a step's sets. */
  readonly #union: Uint32Array;
  /** What of the last step was admitted, layer by layer; null where none of it can be taken back any more. */
  #steps: Step[] | null = null;
  /** How many tokens of that step were not taken back. */
  #remaining = 0;

  constructor(options: NeuronCacheOptions) {
    const { dFf, slotCount, policy = lruPolicy(), unionScratch, nLayers = 1 } = options;
    checkSizes(dFf, slotCount, nLayers);
    this.#dFf = dFf;
    this.slotCount = Math.min(slotCount, dFf);
    this.#policy = policy;
    this.#table = new SlotTable(dFf, this.slotCount);
    this.#lastUse = new LastUse(this.#table, nLayers);
    this.#order = policy.order?.(residentsOf(this.#table, this.#lastUse)) ?? null;
    this.#eviction = new Eviction(policy, this.#order, this.#table, this.#lastUse);
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
    this.#steps = null;
    for (let slot = 0; slot < this.numUsed; slot++) this.#order?.left(this.pointer[slot]!);
    this.#table.clear();
    this.#lastUse.clear();
  }

  *admit(named: Uint32Array | readonly Uint32Array[], layer?: number): Generator<CacheWave> {
    const step = this.#begin(named, layer);
    for (const set of step.sets) {
      this.#observe(set);
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
    const most = this.#steps ? this.#remaining : 0;
    if (!(Number.isSafeInteger(tokens) && tokens >= 0 && tokens <= most)) throw cannotRetract(tokens, most);
    if (tokens === 0 || !this.#steps) return;
    this.#remaining -= tokens;
    for (const { sets } of this.#steps.toReversed()) {
      for (const set of sets.slice(this.#remaining, most).reverse()) this.#unobserve(set);
    }
    this.#lastUse.beginRetract(this.#remaining);
    for (const { layer, sets } of this.#steps) {
      // The union anew: the scratch may have served another layer or cache since.
      this.#lastUse.retractLayer(layer, sets.slice(0, this.#remaining), unionOf(sets, this.#union));
      this.counters.retracted += tokens;
    }
  }

  seed(sets: readonly Uint32Array[], maxNeurons = this.slotCount): CacheWave {
    for (const [i, set] of sets.entries()) checkSet(set, `sets[${i}]`, this.#dFf);
    this.#steps = null;
    const [table, lastUse] = [this.#table, this.#lastUse];
    lastUse.beginAnew(sets.length);
    this.#order?.beginStep(0);
    for (const set of sets) this.#observe(set);
    const room = this.#seeds.subarray(0, Math.max(0, Math.min(this.slotCount, maxNeurons)));
    const neurons = room.subarray(0, chooseSeeds(sets, room, this.#policy, table, lastUse));
    table.beginWave();
    for (let slot = 0; slot < this.numUsed; slot++) {
      if (this.lastKActive[slot]! > 0) continue;
      this.#order?.left(this.pointer[slot]!);
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
    const [table, lastUse] = [this.#table, this.#lastUse];
    // The layers that follow belong to the step; what is guessed of others is the next one's.
    if (lastUse.nLayers === 1 || (guess.length > 0 && !lastUse.continuesWith(lastUse.layerOf(guess[0]!)))) {
      this.#steps = null;
    }
    let absent = 0;
    for (let i = 0; i < guess.length && absent < Math.min(maxNeurons, this.slotCount); i++) {
      if (table.slotOf[guess[i]!] === ABSENT) this.#seeds[absent++] = guess[i]!;
    }
    table.beginWave();
    this.#order?.keep(guess);
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

  /** Checks what is admitted, and begins its step or goes on with that in progress. */
  #begin(named: Uint32Array | readonly Uint32Array[], layer: number | undefined): Step {
    const lastUse = this.#lastUse;
    const step = readStep(named, this.#dFf, this.#union, lastUse, layer);
    const count = step.sets.length;
    const goesOn = lastUse.continuesWith(step.layer);
    const tokens = lastUse.token - lastUse.tokenBefore;
    if (goesOn && count !== tokens) throw otherTokens(step.layer, count, tokens);
    if (!goesOn) [this.#steps, this.#remaining] = [[], count];
    this.#steps?.push(step);
    lastUse.beginStep(count, step.layer);
    this.#order?.beginStep(step.layer);
    return step;
  }

  #observe(set: Uint32Array): void {
    this.#policy.observe?.(set);
    this.#order?.observe(set);
  }

  #unobserve(set: Uint32Array): void {
    this.#policy.unobserve?.(set);
    this.#order?.unobserve(set);
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
    if (this.#order) for (let i = 0; i < misses.length; i++) this.#order.entered(neurons[misses[i]!]!);
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

function checkSizes(dFf: number, slotCount: number, nLayers: number): void {
  const areCounts = [dFf, slotCount, nLayers].every((count) => Number.isSafeInteger(count) && count >= 1);
  if (areCounts && dFf % nLayers === 0) return;
  const found = `neuron cache: ${slotCount} slots for ${dFf} neurons`;
  const expected = "expected integers of at least 1";
  throw new InputError(
    "INPUT_INVALID",
    areCounts
      ? `${found} of ${nLayers} layers, expected as many of each layer`
      : `${found}${nLayers === 1 ? "" : ` of ${nLayers} layers`}, ${expected}`,
    { details: { dFf, slotCount, nLayers } },
  );
}

function otherTokens(layer: number, found: number, expected: number): InputError {
  return new InputError(
    "INPUT_INVALID",
    `layer ${layer} of a pool is admitted with sets of ${found} tokens, expected ${expected} as of the layer before`,
    { details: { layer, found, expected } },
  );
}

function cannotRetract(tokens: number, most: number): InputError {
  const found = `cannot retract ${tokens} tokens of a neuron cache`;
  const expected =
    most > 0
      ? `expected at most the ${most} that are left of those admitted last`
      : "expected none: retract right after admit, before seed, clear or anticipate";
  return new InputError("INPUT_INVALID", `${found}, ${expected}`, { details: { tokens, most } });
}
