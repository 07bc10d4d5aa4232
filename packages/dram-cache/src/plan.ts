/**
 * What a cache decides for one layer and one token: plain data, no bytes moved. The engine executes it:
 * first `moves` (copy slot to slot), then `loads` (flash into slots), then the FFN over `slots`.
 */

/**
 * One wave: a contiguous ascending segment of the named set that fits the slots at once. Usually there is only one.
 *
 * Its arrays are views of buffers that the cache uses again (`neurons`: of the caller's set): valid until the next wave is asked for,
 * or any other method that changes the cache is called.
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
 * Counters over everything a cache has decided; a replayed trace must give exactly these. Always, once a token's waves have all
 * been asked for: `hits + misses = named`; and unless `clear` was called, `misses + seeded + anticipated − evicted = numUsed`.
 */
export interface CacheCounters {
  /** Tokens admitted. Those that only seeded are not among them. */
  tokens: number;
  /** Neurons named, summed over tokens and layers. */
  named: number;
  hits: number;
  misses: number;
  evicted: number;
  /** Slots copied to fill holes. */
  moves: number;
  /** Waves beyond the first of a token and layer. */
  extraWaves: number;
  /** Neurons loaded by `seed`; not among the misses. */
  seeded: number;
  /** Neurons loaded by `anticipate`; not among the misses. Those that the token then names are hits. */
  anticipated: number;
}

/** One layer's cache. */
export interface NeuronCache {
  readonly slotCount: number;
  /** slot -> neuron; entries at or beyond `numUsed` mean nothing. */
  readonly pointer: Uint32Array;
  /** Slots in use: always the first `numUsed`. */
  readonly numUsed: number;
  /** Number of the last token that used the neuron in each slot; tokens count from 1. */
  readonly lastKActive: Uint32Array;
  /**
   * How many of the last tokens, the current one included, have lost none of their neurons to pressure: the window that the
   * slots really hold. At most the policy's own, and 0 where the current token alone exceeds the slots.
   */
  readonly effectiveWindowTokens: number;
  readonly counters: Readonly<CacheCounters>;
  /**
   * Decides one token: which of `named` are resident, which to load and where, what to evict.
   * Waves are produced lazily, since a wave's evictions follow the wave before; each must be executed before the next
   * is asked for, and nothing at all is decided before the first is. Where a wave cannot be executed, `clear`.
   *
   * @param named Neurons of this token, ascending, distinct, each < dFf. Not kept, but must stay unchanged until the last wave.
   * @throws {InputError} `INPUT_INVALID` if they are not; nothing has changed then.
   * Cost: O(named + evicted), whatever the cache holds; a policy that pins adds a look at the slots in use, one that ranks sorts them.
   */
  admit(named: Uint32Array): Iterable<CacheWave>;
  /**
   * Starts anew as if the last tokens' sets had just been admitted: one plan of moves and loads that makes as many as possible
   * of them resident, the newest first. For the time after a prefill, which streams layers past the cache. Neurons that are
   * resident already are hits.
   *
   * @param sets       Oldest first; each ascending and distinct.
   * @param maxNeurons At most so many become resident; into an empty cache, they take the lowest slots. Default: all slots.
   * @throws {InputError} `INPUT_INVALID` if they are not; nothing has changed then.
   */
  seed(sets: readonly Uint32Array[], maxNeurons?: number): CacheWave;
  /**
   * Makes room for neurons that the next token will probably name, so that they can be read before it is known. They count as used by
   * no token yet: unless the next `admit` names them, they are the first to go. What `guess` names is not evicted for it.
   *
   * @param guess      Ascending, distinct neurons, each < dFf. Not kept.
   * @param maxNeurons At most so many are taken in: the lowest absent ones.
   * @returns A wave of misses alone, without moves.
   * @throws {InputError} `INPUT_INVALID` if they are not; nothing has changed then.
   * Cost: O(guess + evicted).
   */
  anticipate(guess: Uint32Array, maxNeurons: number): CacheWave;
  /** Slot of a resident neuron, or -1. */
  slotOf(neuron: number): number;
  /** Forgets everything (not the counters). */
  clear(): void;
}
