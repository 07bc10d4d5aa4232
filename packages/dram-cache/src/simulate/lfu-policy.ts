import type { CachePolicy } from "../cache-policy.js";

/**
 * Least frequently used, for study: under pressure the neuron that the fewest tokens have named leaves first, the least recently used among
 * equals. Counts are of the whole past, also of neurons that have left and come back.
 *
 * @param dFf Neurons of the layer; four bytes of counts each. A cache needs a policy of its own.
 */
export function lfuPolicy(dFf: number): CachePolicy {
  const uses = new Uint32Array(dFf);
  return {
    name: "lfu",
    windowTokens: Number.POSITIVE_INFINITY,
    isPinned: null,
    evictionRank: (neuron) => -uses[neuron]!,
    observe(named) {
      for (const neuron of named) uses[neuron]!++;
    },
    unobserve(named) {
      for (const neuron of named) uses[neuron]!--;
    },
  };
}
