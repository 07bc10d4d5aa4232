/**
 * What a cache decides for one layer and one token: plain data, no bytes moved. The engine executes it:
 * first `moves` (copy slot to slot), then `loads` (flash into slots), then the FFN over `slots`.
 */

/**
 * One wave: a contiguous ascending segment of the named set that fits the slots at once. Usually there is only one.
 * Its arrays belong to the cache and are valid until its next call.
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

/** Counters over everything a cache has decided; a replayed trace must give exactly these. */
export interface CacheCounters {
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
  readonly counters: Readonly<CacheCounters>;
  /**
   * Decides one token: which of `named` are resident, which to load and where, what to evict.
   * Waves are produced lazily, since a wave's evictions follow the wave before; each must be executed before the next
   * is asked for.
   *
   * @param named Neurons of this token, ascending, distinct, each < dFf. Not kept.
   */
  admit(named: Uint32Array): Iterable<CacheWave>;
  /**
   * Starts anew as if the last tokens' sets had just been admitted: one plan of loads that makes as many as possible of them
   * resident, the newest first. For the time after a prefill, which streams layers past the cache.
   *
   * @param sets Oldest first; each ascending and distinct.
   */
  seed(sets: readonly Uint32Array[]): CacheWave;
  /** Slot of a resident neuron, or -1. */
  slotOf(neuron: number): number;
  /** Forgets everything (not the counters). */
  clear(): void;
}
