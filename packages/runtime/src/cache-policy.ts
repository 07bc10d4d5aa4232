/** The user's words for a cache policy, and the policy of dram-cache that they mean. */
import { InputError } from "@flashwick/core";
import {
  type CachePolicy,
  frequencyPinnedPolicy,
  leastStalePolicy,
  lfuPolicy,
  lruPolicy,
  s3FifoPolicy,
  windowPolicy,
} from "@flashwick/dram-cache";

/** Names of the cache policies. */
export const POLICIES = ["window", "lru", "pinned", "lfu", "s3-fifo", "least-stale"] as const;

export interface CachePolicyChoice {
  /**
   * `window`: the paper's; `lru`: whatever fits, oldest out first; `pinned`: what most tokens use stays, a window for the
   * rest; `lfu`: what the fewest tokens used leaves, with counts that age; `s3-fifo`: three queues; `least-stale`: in a
   * pool of all layers, passed layers before those to come, and in one layer `lru`.
   */
  readonly policy: (typeof POLICIES)[number];
  /** For `window` and `pinned`: tokens whose sets stay, the current one included; null: as many as fit. */
  readonly windowTokens: number | null;
}

/** The default of a mixture of experts: what missed least in traces of three real mixtures (docs/results/mixtures.md). */
export const EXPERT_POLICY: CachePolicyChoice = { policy: "lfu", windowTokens: null };

/** The pinned policy pins neurons that more than this share of the tokens used. */
const PINNED_SHARE = 0.5;

/** The policy of one cache of `dFf` units, of a layer or of a pool; one that counts belongs to that cache alone. */
export function cachePolicy(choice: CachePolicyChoice, dFf: number, nLayers = 1): CachePolicy {
  const windowTokens = choice.windowTokens ?? Number.POSITIVE_INFINITY;
  switch (choice.policy) {
    case "window":
      return windowPolicy(windowTokens);
    case "lru":
      return lruPolicy();
    case "pinned":
      return frequencyPinnedPolicy(dFf, PINNED_SHARE, windowTokens, nLayers);
    case "lfu":
      return lfuPolicy();
    case "s3-fifo":
      return s3FifoPolicy();
    case "least-stale":
      return leastStalePolicy();
    default:
      throw new InputError(
        "INPUT_INVALID",
        `unknown cache policy ${JSON.stringify(choice.policy)}, expected one of ${POLICIES.join(", ")}`,
      );
  }
}
