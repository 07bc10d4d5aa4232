/**
 * Which neurons leave the cache. A policy only ranks and expires; slots, waves and counters are the cache's (slot-cache.ts).
 *
 * The window. The paper says k = 4 in one place and "past 5 tokens" in another (docs/glossary.md). Here a window of k tokens
 * is the union of the sets of the last k tokens, the current one included: k = 1 keeps nothing that the current token does
 * not use.
 */

export interface CachePolicy {
  readonly name: string;
  /** A neuron that was not used in this many tokens leaves, room or no room. Infinity: only pressure evicts. */
  readonly windowTokens: number;
  /** Pinned neurons do not expire, and under pressure leave after all others. */
  readonly isPinned: ((neuron: number) => boolean) | null;
  /**
   * Under pressure the largest rank leaves first. Null: the least recently used, which is what a window that shrinks gives up.
   *
   * @param token The current token's number, counted from 1.
   */
  readonly evictionRank: ((neuron: number, token: number) => number) | null;
  /** Sees each token's named set before it is admitted. */
  readonly observe?: (named: Uint32Array) => void;
}

/**
 * The paper's sliding window (3.3). Where its union does not fit the slots, the oldest tokens' neurons leave first: the window
 * shrinks.
 *
 * @param windowTokens At least 1; Infinity keeps whatever fits.
 */
export function windowPolicy(windowTokens: number): CachePolicy {
  return { name: "window", windowTokens, isPinned: null, evictionRank: null };
}

/** Keeps whatever fits; the least recently used leave first. */
export function lruPolicy(): CachePolicy {
  return { name: "lru", windowTokens: Number.POSITIVE_INFINITY, isPinned: null, evictionRank: null };
}

/**
 * Neurons that never leave (unless nothing else is left to evict), and a window for the others.
 *
 * @param pinned Neurons; they enter when they are first needed.
 */
export function pinnedPolicy(pinned: Iterable<number>, windowTokens: number): CachePolicy {
  const members = new Set(pinned);
  return { name: "pinned", windowTokens, isPinned: (neuron) => members.has(neuron), evictionRank: null };
}

/** Tokens before a frequency means anything. */
const MIN_OBSERVED_TOKENS = 8;

/**
 * Pins by use: neurons that more than `share` of the tokens so far named, and a window for the others. The use of ReLU neurons
 * is skewed, so a few are worth their slot at all times.
 *
 * @param dFf   Neurons of the layer; four bytes of counts each.
 * @param share In (0, 1).
 */
export function frequencyPinnedPolicy(dFf: number, share: number, windowTokens: number): CachePolicy {
  const uses = new Uint32Array(dFf);
  let tokens = 0;
  return {
    name: "pinned",
    windowTokens,
    isPinned: (neuron) => tokens >= MIN_OBSERVED_TOKENS && uses[neuron]! > share * tokens,
    evictionRank: null,
    observe(named) {
      tokens++;
      for (const neuron of named) uses[neuron]!++;
    },
  };
}

/** The `count` most frequent neurons: what to pin. Lower neurons first among equals; never used ones are not pinned. */
export function mostFrequent(frequencies: ArrayLike<number>, count: number): number[] {
  return Array.from(frequencies, (_, neuron) => neuron)
    .filter((neuron) => frequencies[neuron]! > 0)
    .sort((a, b) => frequencies[b]! - frequencies[a]! || a - b)
    .slice(0, count);
}
