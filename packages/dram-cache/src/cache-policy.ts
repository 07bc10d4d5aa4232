/**
 * Which neurons leave a cache: the one interface behind which all policies stand. A policy only expires, protects and
 * ranks; slots, waves and counters are the cache's (slot-cache.ts). What it answers may change between steps, never
 * within one: a step is what is admitted together, one token or several.
 */
import { InputError } from "@flashwick/core";

export interface CachePolicy {
  readonly name: string;
  /**
   * The window, in tokens and with the current one: a neuron whose last use is this many tokens ago leaves, room or no
   * room. At least 1; Infinity: only pressure evicts.
   */
  readonly windowTokens: number;
  /**
   * Pinned neurons do not expire, and waves are cut shorter so that they need not leave under pressure (slot-cache.ts).
   */
  readonly isPinned: ((neuron: number) => boolean) | null;
  /**
   * Under pressure the largest rank leaves first; among equals the least recently used, then the lower neuron.
   * Null: all are equal, which is what a window that shrinks gives up.
   *
   * @param token The number of the step's last token, counted from 1.
   * Cost: ranking sorts all candidates, and allocates. For studies.
   */
  readonly evictionRank: ((neuron: number, token: number) => number) | null;
  /** Sees each token's named set before it is admitted, or seeded. */
  readonly observe?: (named: Uint32Array) => void;
  /** The inverse: sees the set of a token that is taken back, the newest first. Without it, what was counted stays. */
  readonly unobserve?: (named: Uint32Array) => void;
  /** Hears of each neuron that leaves, or that a wave brings in. For policies with queues of their own. */
  readonly left?: (neuron: number) => void;
  readonly entered?: (neuron: number) => void;
}

/** `"auto"`: as many tokens as the slots hold, the same as Infinity. */
export type WindowTokens = number | "auto";

/** @throws {InputError} `INPUT_INVALID` if `windowTokens` is neither "auto", Infinity nor an integer of at least 1. */
export function checkWindowTokens(windowTokens: WindowTokens): number {
  if (windowTokens === "auto" || windowTokens === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  if (Number.isSafeInteger(windowTokens) && windowTokens >= 1) return windowTokens;
  throw new InputError(
    "INPUT_INVALID",
    `cache policy: a window of ${windowTokens} tokens, expected an integer of at least 1 (1 is the current token only), or "auto"`,
    { details: { windowTokens } },
  );
}
