/** Which policy hits most on a trace, beside the optimum: how a default is chosen. */
import { InputError } from "@flashwick/core";
import type { CachePolicy } from "../cache-policy.js";
import { leastStalePolicy } from "../least-stale-policy.js";
import { lfuPolicy } from "../lfu-policy.js";
import { lruPolicy } from "../lru-policy.js";
import { s3FifoPolicy } from "../s3-fifo-policy.js";
import { windowPolicy } from "../window-policy.js";
import { clairvoyantMisses } from "./clairvoyant.js";
import type { NeuronTrace } from "./neuron-trace.js";
import { pooledTrace } from "./pooled-trace.js";
import { replayTrace } from "./replay.js";

/** How {@link rankPolicies} replays a trace. */
export interface RankOptions {
  /** Of each layer's cache; of a pool in all. */
  readonly slots: number;
  /** One cache of all layers. Default false: one for each layer. */
  readonly pool?: boolean;
  /** Tokens at the start that fill the cache and are not counted. Default 0. */
  readonly warmUpTokens?: number;
  /** Each called for every cache. Default: a window of 5 tokens, LRU, LFU, S3-FIFO, least-stale. */
  readonly policies?: readonly (() => CachePolicy)[];
}

/** Policies by their share of hits, and the optimum. */
export interface RankedPolicies {
  /** The one that hits most first; among equals in the order in which they were given. */
  readonly ranks: readonly { readonly policy: string; readonly hitShare: number }[];
  /** Hits over units named of Belady's optimum, which no policy exceeds. */
  readonly optimum: number;
}

/** The window is what the paper uses, "the past 4 tokens and the current one". */
const POLICIES = [() => windowPolicy(5), lruPolicy, () => lfuPolicy(), s3FifoPolicy, leastStalePolicy];

/**
 * @throws {InputError} `INPUT_INVALID` for a damaged trace, no slots, or a warm-up that leaves nothing named.
 * Cost: a replay of the trace for each policy, and one for the optimum.
 */
export function rankPolicies(trace: NeuronTrace, options: RankOptions): RankedPolicies {
  const { slots, pool = false, warmUpTokens = 0, policies = POLICIES } = options;
  const counted = trace.tokens.slice(warmUpTokens).flat();
  const named = counted.reduce((sum, { length }) => sum + length, 0);
  if (named === 0) {
    const message = `a warm-up of ${warmUpTokens} of ${trace.tokens.length} tokens leaves nothing that is named; warm up on fewer`;
    throw new InputError("INPUT_INVALID", message);
  }
  const ranks = policies.map((policy) => {
    let misses = 0;
    replayTrace(trace, {
      ...{ slots, pool, policy, slotBytes: 0 },
      onWave: (_, token, wave) => {
        if (token >= warmUpTokens) misses += wave.misses.length;
      },
    });
    return { policy: policy().name, hitShare: 1 - misses / named };
  });
  return {
    ranks: ranks.sort((a, b) => b.hitShare - a.hitShare),
    optimum: 1 - leastMisses(pool ? pooledTrace(trace) : trace, slots, warmUpTokens) / named,
  };
}

function leastMisses(trace: NeuronTrace, slots: number, warmUpTokens: number): number {
  let misses = 0;
  for (let layer = 0; layer < trace.nLayers; layer++) {
    for (const some of clairvoyantMisses(trace, layer, slots).slice(warmUpTokens)) misses += some.length;
  }
  return misses;
}
