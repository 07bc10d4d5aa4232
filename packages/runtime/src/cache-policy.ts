/** The user's words for a cache policy, and the policy of dram-cache that they mean. */
import { InputError } from "@flashwick/core";
import type { CachePolicy } from "@flashwick/dram-cache";

export interface CachePolicyChoice {
  /** `window`: the paper's; `lru`: whatever fits, oldest out first; `pinned`: the most frequent stay, a window for the rest. */
  readonly policy: "window" | "lru" | "pinned";
  /** Tokens whose sets stay, the current one included; null: as many as fit. */
  readonly windowTokens: number | null;
  /** Pinned policy: how often each neuron was used, by layer; null pins nothing. */
  readonly frequencies?: readonly ArrayLike<number>[] | null;
}

export const POLICIES = ["window", "lru", "pinned"] as const;

export function cachePolicy(choice: CachePolicyChoice): CachePolicy {
  const windowTokens = choice.windowTokens ?? Number.POSITIVE_INFINITY;
  if (!(windowTokens >= 1)) {
    throw new InputError("INPUT_INVALID", `window is ${windowTokens} tokens, expected at least 1`);
  }
  switch (choice.policy) {
    case "window":
      return { kind: "window", windowTokens };
    case "lru":
      return { kind: "lru" };
    case "pinned":
      return { kind: "pinned", windowTokens, pinned: [] } as CachePolicy;
    default:
      throw new InputError(
        "INPUT_INVALID",
        `unknown cache policy ${JSON.stringify(choice.policy)}, expected one of ${POLICIES.join(", ")}`,
      );
  }
}
