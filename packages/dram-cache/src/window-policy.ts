import { type CachePolicy, checkWindowTokens, type WindowTokens } from "./cache-policy.js";

/**
 * The paper's sliding window (LLM in a flash, 3.1 and 3.3): resident is the union of the named sets of the last k tokens,
 * **the current one included**; everything else leaves, room or no room.
 *
 * The paper says k = 4 in one place and "past 5 tokens" in another, which is the same window counted with and without the current
 * token. Here k counts it: k = 1 keeps only what the current token names, and "the past 4 and the current one" is k = 5.
 *
 * Where that union does not fit the slots, the window shrinks: the oldest tokens' neurons leave first (as the paper does for
 * Persimmon and Phi-2), and the cache's `effectiveWindowTokens` says how far.
 *
 * @param windowTokens k; "auto" keeps whatever fits, so that only pressure evicts.
 * @throws {InputError} `INPUT_INVALID`, see `checkWindowTokens`.
 */
export function windowPolicy(windowTokens: WindowTokens): CachePolicy {
  return { name: "window", windowTokens: checkWindowTokens(windowTokens), isPinned: null, order: null };
}
