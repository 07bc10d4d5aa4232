import type { CachePolicy } from "../cache-policy.js";
import type { NeuronTrace } from "./neuron-trace.js";

/**
 * Belady's optimum, for study: under pressure the neuron that is needed again last leaves first. It knows the future, so it may be asked
 * about the trace's own tokens only, in order, and by a cache that was made for it.
 *
 * No policy misses less where every token fits the slots. Where tokens pass in waves it is a good policy, not an optimum.
 * Cost: eight bytes and more for each neuron of each set; each decision under pressure sorts what is resident.
 */
export function clairvoyantPolicy(trace: NeuronTrace, layer: number): CachePolicy {
  /** Tokens (counted from 1) that use each neuron, ascending. */
  const uses: number[][] = Array.from({ length: trace.dFf }, () => []);
  for (const [t, token] of trace.tokens.entries()) for (const neuron of token[layer]!) uses[neuron]!.push(t + 1);
  return {
    name: "clairvoyant",
    windowTokens: Number.POSITIVE_INFINITY,
    isPinned: null,
    evictionRank: (neuron, token) => uses[neuron]![upperBound(uses[neuron]!, token)] ?? Number.POSITIVE_INFINITY,
  };
}

/** Index of the first value above `limit`. */
function upperBound(ascending: readonly number[], limit: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
