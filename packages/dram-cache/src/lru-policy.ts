import type { CachePolicy } from "./cache-policy.js";

/**
 * Keeps whatever fits; under pressure the least recently used leave first, the lower neuron among equals.
 *
 * It decides exactly as the window "auto" does: a window that gives up its oldest tokens _is_ least recently used. It has its own
 * name because users look for it.
 */
export function lruPolicy(): CachePolicy {
  return { name: "lru", windowTokens: Number.POSITIVE_INFINITY, isPinned: null, order: null };
}
