/** Whether a cache holds what one token uses, before it is made: what a model's owner is told at open. */
import { BudgetError, formatBytes } from "@flashwick/core";
import type { CachePolicy } from "./cache-policy.js";

/** What a token uses, and the slots that there are. */
export interface TokenFitRequest {
  /** Units that a token names in each layer: a router's k. */
  readonly topK: number;
  /** Layers of a pool; 1: the cache is one layer's. */
  readonly nLayers: number;
  readonly slots: number;
  readonly policy: Pick<CachePolicy, "name">;
}

/** Whether a token's experts fit the slots, and how many slots would do. */
export interface TokenFit extends TokenFitRequest {
  /** False: the cache would pass tokens in waves, or hit nothing. */
  readonly fits: boolean;
  /** The least slots that fit. */
  readonly neededSlots: number;
  /** What a token uses in all the layers of the cache: from here on, all that tokens repeat can hit. */
  readonly tokenSlots: number;
}

/** By these a pool forgets a layer's units before its turn comes again, unless it holds all that a token uses. */
const CIRCLING_POLICIES = ["window", "lru", "pinned"];

/**
 * A layer's units must lie in slots at once: `topK` slots at least. In a pool that evicts by age alone, what the next
 * layer will name was used longest ago, so with fewer slots than a token uses it leaves just before, as with every list
 * that is gone through in circles. Such a pool needs `topK · nLayers`; with a layer's units fewer it never hits. By LFU,
 * S3-FIFO and least-stale fewer slots hit less.
 */
export function tokenFit(request: TokenFitRequest): TokenFit {
  const { topK, nLayers, slots, policy } = request;
  const tokenSlots = topK * nLayers;
  const neededSlots = CIRCLING_POLICIES.includes(policy.name) ? tokenSlots : topK;
  return { ...request, fits: slots >= neededSlots, neededSlots, tokenSlots };
}

/**
 * What to throw where a token does not fit.
 *
 * @param slotBytes  Of a slot, with its bookkeeping. @param otherBytes What the budget holds beside the cache, and beside
 *   the caches of other layers.
 * @returns `BUDGET_TOO_SMALL` with `details.smallestBudgetBytes`.
 */
export function misfitError(fit: TokenFit, slotBytes: number, otherBytes: number): BudgetError {
  const { topK, nLayers, slots, neededSlots, tokenSlots, policy } = fit;
  const smallestBudgetBytes = otherBytes + neededSlots * slotBytes;
  const circles = neededSlots > topK;
  const where = nLayers === 1 ? "the expert cache of a layer" : `the expert cache of ${nLayers} layers`;
  const why = circles
    ? `a token uses ${tokenSlots} experts, and ${policy.name} evicts each before its layer comes again, so that little or nothing hits`
    : `a token uses ${topK} experts of a layer at once`;
  const instead = circles ? ", or choose the policy least-stale" : "";
  const message =
    `${where} has room for ${slots} experts, expected ${neededSlots} at least: ${why}; set dramBudgetBytes to ` +
    `${smallestBudgetBytes} (${formatBytes(smallestBudgetBytes)}) or more${instead}`;
  return new BudgetError("BUDGET_TOO_SMALL", message, {
    details: { slots, neededSlots, topK, nLayers, smallestBudgetBytes },
  });
}
