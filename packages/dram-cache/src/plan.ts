/**
 * What a cache decides for one layer and one step (a token, or several that are computed together): plain data, no
 * bytes moved. What is called a neuron here may as well be an expert: a unit of records that has a slot. The engine executes it: first `moves` (copy slot to slot), then `loads` (flash into slots), then the FFN
 * over `slots`.
 */

/**
 * One wave: a contiguous ascending segment of what the step names that fits the slots at once. Usually there is only
 * one.
 *
 * Its arrays are views of buffers that the cache uses again (`neurons`: of the caller's set, where there is only one):
 * valid until the next wave is asked for, or any other method that changes the cache is called.
 */
export interface CacheWave {
  /** The neurons of this wave, ascending. */
  readonly neurons: Uint32Array;
  /** The slot of each, after moves and loads. */
  readonly slots: Uint32Array;
  /** Indices into `neurons`/`slots` that are resident already, ascending: computable while the loads fly. */
  readonly hits: Uint32Array;
  /** Indices into `neurons`/`slots` that must be read, ascending. */
  readonly misses: Uint32Array;
  /** Slot copies that fill holes from the tail: pairs (from, to), flattened, to be done in order before the loads. */
  readonly moves: Uint32Array;
  /** Neurons that lost their slot. */
  readonly evicted: number;
}

/**
 * Counters over everything a cache has decided; a replayed trace must give exactly these. Always, once a step's waves
 * have all been asked for: `hits + misses = named`; and unless `clear` was called, `misses + seeded + anticipated −
 * evicted = numUsed`.
 */
export interface CacheCounters {
  /**
   * Tokens admitted, those that were taken back included, in a pool once a layer. Those that only seeded are not among
   * them.
   */
  tokens: number;
  /** Neurons named, summed over tokens and layers. */
  named: number;
  /**
   * Named without being read for it: because they were resident, or because another token of the step has them read.
   */
  hits: number;
  /** Neurons read because they were named. */
  misses: number;
  evicted: number;
  /** Slots copied to fill holes. */
  moves: number;
  /** Waves beyond the first of a step and layer. */
  extraWaves: number;
  /** Neurons loaded by `seed`; not among the misses. */
  seeded: number;
  /** Neurons taken in by `anticipate` or `fill`; not among the misses. Those that a token then names are hits. */
  anticipated: number;
  /** Tokens that `retract` took back, in a pool once a layer. */
  retracted: number;
}

/** A cache of one layer, or of all layers of a pool. */
export interface NeuronCache {
  readonly slotCount: number;
  /** slot -> neuron; entries at or beyond `numUsed` mean nothing. */
  readonly pointer: Uint32Array;
  /** Slots in use: always the first `numUsed`. */
  readonly numUsed: number;
  /** Number of the last token that used the neuron in each slot; tokens count from 1. 0: none that is known. */
  readonly lastKActive: Uint32Array;
  /**
   * How many of the last tokens, the current one included, have lost none of their neurons to pressure: the window that
   * the slots really hold. At most the policy's own, and 0 where the current token alone exceeds the slots.
   */
  readonly effectiveWindowTokens: number;
  readonly counters: Readonly<CacheCounters>;
  /**
   * Decides one step: which of the named neurons are resident, which to load and where, what to evict.
   * Waves are produced lazily, since a wave's evictions follow the wave before; each must be executed before the next
   * is asked for, and nothing at all is decided before the first is. Where a wave cannot be executed, `clear`.
   *
   * Several sets are those of consecutive tokens, for instance drafted ones that one step verifies. Their union is
   * admitted: a neuron that several of them name is read once. Afterwards the tokens count, and stamps and order of
   * leaving are, as if the sets had been admitted one after the other. The window is that of the last token, but no
   * member of the step leaves it before the next `admit`.
   *
   * A pool admits layer by layer: the sets are of one layer each time, and the tokens the same while the layers rise.
   * Its next tokens begin where the layer does not rise, so a token that was given up half-way needs nothing but the
   * first layer of the next one. Members of one admit are never evicted for one another; those of the layers before may
   * leave.
   *
   * @param named Neurons of one token, or of each of several, oldest first; each set ascending, distinct, each neuron <
   *              dFf. Not copied unless the cache is a pool: the sets must stay unchanged until `admit`, `seed` or
   *              `clear` is called again.
   * @param layer Of a pool. Default: that of what is named, and if nothing is, the one after the layer before.
   * @throws {InputError} `INPUT_INVALID` if they are not, if there is no set, if they are of several layers, or for
   *   another number of tokens than the layer before; nothing has changed then.
   * Cost: O(named + evicted), whatever the cache holds, in a pool O(layers) for each that is evicted; a policy that pins
   * adds a look at the slots in use, one with an order of its own what it says. Several sets cost another pass a wave,
   * and the union that of its sets for each of them.
   */
  admit(named: Uint32Array | readonly Uint32Array[], layer?: number): Iterable<CacheWave>;
  /**
   * Takes back the last tokens of the last `admit`, whose waves have all been asked for: drafts that verification has
   * rejected. They never were: a neuron has the stamp of the last remaining token that used it, in that step or before,
   * or 0 if none is known, and is then the first to go. So the window is that of the last accepted token (LLM in a
   * flash, 5.2). What was read stays resident, what was evicted stays evicted, and `effectiveWindowTokens` says how far
   * the window then reaches. In a pool this is for all layers that the tokens came to, at once.
   *
   * @param tokens None to all of them. Called again, it goes on from what is left of that `admit`.
   * @throws {InputError} `INPUT_INVALID` for more, or when `seed`, `clear` or `anticipate` came after that `admit` (of a
   *   pool's layers that the tokens have not come to, `anticipate` may); nothing has changed then.
   * Cost: O(named · log named), and a look at what was used since the oldest stamp that comes back.
   */
  retract(tokens: number): void;
  /**
   * Starts anew as if the last tokens' sets had just been admitted: one plan of moves and loads that makes as many as
   * possible of them resident, the newest first. For the time after a prefill, which streams layers past the cache.
   * Neurons that are resident already are hits.
   *
   * @param sets       Oldest first; each ascending and distinct, in a pool of all layers.
   * @param maxNeurons At most so many become resident; into an empty cache, they take the lowest slots. Default: all
   *                   slots.
   * @throws {InputError} `INPUT_INVALID` if they are not; nothing has changed then.
   */
  seed(sets: readonly Uint32Array[], maxNeurons?: number): CacheWave;
  /**
   * Makes room for neurons that the next token will probably name, so that they can be read before it is known. They
   * count as used by no token yet: unless the next `admit` names them, they are the first to go, or go when the policy's
   * own order says. What `guess` names is not evicted for it; nor, in a pool or by a policy with an order of its own, is
   * what the last `admit` named.
   *
   * @param guess      Ascending, distinct neurons, each < dFf. Not kept.
   * @param maxNeurons At most so many are taken in: the lowest absent ones.
   * @returns A wave of misses alone, without moves.
   * @throws {InputError} `INPUT_INVALID` if they are not; nothing has changed then.
   * Cost: O(guess + evicted).
   */
  anticipate(guess: Uint32Array, maxNeurons: number): CacheWave;
  /**
   * Gives free slots to neurons that pass through DRAM anyway, as `anticipate` does: nothing leaves for them, and they are the first to go. With a
   * finite window they would leave at once, so none is taken in.
   *
   * @param passing Ascending, distinct neurons, each < dFf. Not kept.
   * @returns A wave of misses alone, without moves: the lowest absent ones, as many as there are free slots.
   * @throws {InputError} `INPUT_INVALID` if they are not; nothing has changed then.
   * Cost: O(passing).
   */
  fill(passing: Uint32Array): CacheWave;
  /** Slot of a resident neuron, or -1. */
  slotOf(neuron: number): number;
  /** Forgets everything (not the counters). */
  clear(): void;
}
