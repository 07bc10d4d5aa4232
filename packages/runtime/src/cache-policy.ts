/** The user's words for a cache policy, and the policy of dram-cache that they mean. */
import { InputError } from "@flashwick/core";
import { type CachePolicy, frequencyPinnedPolicy, lruPolicy, windowPolicy } from "@flashwick/dram-cache";

export interface CachePolicyChoice {
  /** `window`: the paper's; `lru`: whatever fits, oldest out first; `pinned`: what most tokens use stays, a window for the rest. */
  readonly policy: "window" | "lru" | "pinned";
  /** Tokens whose sets stay, the current one included; null: as many as fit. */
  readonly windowTokens: number | null;
}

export const POLICIES = ["window", "lru", "pinned"] as const;

/** The pinned policy pins neurons that more than this share of the tokens used. */
const PINNED_SHARE = 0.5;

/** The policy of one layer of `dFf` neurons; policies that count keep a state of their own. */
export function cachePolicy(choice: CachePolicyChoice, dFf: number): CachePolicy {
  const windowTokens = choice.windowTokens ?? Number.POSITIVE_INFINITY;
  switch (choice.policy) {
    case "window":
      return windowPolicy(windowTokens);
    case "lru":
      return lruPolicy();
    case "pinned":
      return frequencyPinnedPolicy(dFf, PINNED_SHARE, windowTokens);
    default:
      throw new InputError(
        "INPUT_INVALID",
        `unknown cache policy ${JSON.stringify(choice.policy)}, expected one of ${POLICIES.join(", ")}`,
      );
  }
}
