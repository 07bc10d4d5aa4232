/**
 * How much of a layer fires, how much of it is named, and how much of that was named lately.
 *
 * s_agg(k), the share of a layer's neurons that any of k consecutive tokens name, says all that a window or an LRU cache needs to be
 * judged: a cache that holds s_agg(k) loads s_agg(k+1) − s_agg(k) for the next token (LLM in a flash, 3.1; the derivative of the
 * working set, P. J. Denning and S. C. Schwartz, "Properties of the working-set model", CACM 15(3), 1972).
 */
import { findSparsityFault, InputError, type LayerSparsity, type SparsityStatistics, showValue } from "@flashwick/core";

/** Where unions are looked at: enough points that a power law between them is as good as the curve. */
export const UNION_TOKENS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192] as const;

/** Everything named, always: a dense pass. */
export function denseSparsity(nLayers: number): SparsityStatistics {
  const layer: LayerSparsity = { activeShare: null, unionShare: [1], freshShare: [0], unevenness: 0 };
  return {
    source: "dense",
    unionTokens: [1],
    layers: new Array(nLayers).fill(layer),
    clumping: null,
    namedQuantiles: { p50: 1, p90: 1, p99: 1 },
  };
}

/**
 * What is published is often two figures: what a token names, and what a window holds. Between and beyond them
 * s_agg(k) = named · k^exponent, at most 1; exponent 0.5 is what the paper's OPT and Falcon have.
 */
export function powerLawLayer(namedShare: number, exponent: number, activeShare: number | null = null): LayerSparsity {
  const union = (k: number) => Math.min(1, namedShare * k ** exponent);
  return {
    activeShare,
    unionShare: UNION_TOKENS.map(union),
    freshShare: UNION_TOKENS.map((k) => union(k + 1) - union(k)),
    unevenness: null,
  };
}

/** The exponent for which a window of `windowTokens` holds `heldShare` of a layer. */
export function windowExponent(namedShare: number, windowTokens: number, heldShare: number): number {
  return Math.log(heldShare / namedShare) / Math.log(windowTokens);
}

/** What one token names of a layer. */
export function namedShare(statistics: SparsityStatistics, layer: number): number {
  return statistics.layers[layer]!.unionShare[0]!;
}

/** s_agg(k) for any k >= 0, and beyond the last point: a power law between neighbouring points, the last one's after them. At most 1. */
export function unionShare(statistics: SparsityStatistics, layer: number, k: number): number {
  const { unionShare: shares } = statistics.layers[layer]!;
  if (k <= 1) return shares[0]! * Math.max(0, k);
  return Math.min(1, powerLaw(statistics.unionTokens, shares, k));
}

/** s_agg(k + 1) − s_agg(k) for any k >= 1, as {@link unionShare}. */
export function freshShare(statistics: SparsityStatistics, layer: number, k: number): number {
  const { freshShare: shares } = statistics.layers[layer]!;
  return Math.max(0, powerLaw(statistics.unionTokens, shares, k));
}

/** The k for which s_agg(k) = share; Infinity where no number of tokens names more. */
export function tokensHeld(statistics: SparsityStatistics, layer: number, share: number): number {
  if (unionShare(statistics, layer, MOST_TOKENS) <= share) return Number.POSITIVE_INFINITY;
  const { unionShare: shares } = statistics.layers[layer]!;
  if (share <= shares[0]!) return share / shares[0]!;
  let i = shares.findIndex((s) => s > share);
  if (i < 0) i = shares.length - 1;
  const { unionTokens: tokens } = statistics;
  const exponent = Math.log(shares[i]! / shares[i - 1]!) / Math.log(tokens[i]! / tokens[i - 1]!);
  return tokens[i - 1]! * (share / shares[i - 1]!) ** (1 / exponent);
}

/** Beyond this a sequence has ended. */
const MOST_TOKENS = 65536;

function powerLaw(at: readonly number[], values: readonly number[], x: number): number {
  if (values.length === 1) return values[0]!;
  let i = 1;
  while (i < values.length - 1 && at[i]! < x) i++;
  const [a, b] = [values[i - 1]!, values[i]!];
  if (a <= 0 || b <= 0) return x <= at[i - 1]! ? a : b;
  return a * (x / at[i - 1]!) ** (Math.log(b / a) / Math.log(at[i]! / at[i - 1]!));
}

/** What a cache holds and how it is asked, as the share of misses depends on it. */
export interface CacheUse {
  /** Share of the layer that its slots hold. */
  readonly heldShare: number;
  /** The policy's window, the current token included; Infinity: only pressure evicts. */
  readonly windowTokens: number;
  /** Tokens that the cache has seen before this one. */
  readonly seenTokens: number;
}

/**
 * What of a layer `tokens` tokens together must load, as a share of `dFf`: s_agg(k+n) − s_agg(k), where k is the least of what the slots hold, the
 * window and the tokens seen. Slots that hold less than one token's set keep a part of it, and hit in that proportion.
 *
 * Slots that no token has claimed yet hold neurons that passed in the prompt's dense pass, some of which are then named: while there are such slots, this
 * is an upper bound.
 *
 * More slots, a longer window and more tokens seen never load more; several tokens at once load no more than one after the other.
 */
export function missShare(statistics: SparsityStatistics, layer: number, use: CacheUse, tokens = 1): number {
  // A layer that fits stays whole when a prompt is taken in, and nothing but a window makes it leave.
  if (use.heldShare >= 1 && use.windowTokens === Number.POSITIVE_INFINITY && use.seenTokens > 0) return 0;
  const named = unionShare(statistics, layer, tokens);
  const held = use.heldShare >= 1 ? Number.POSITIVE_INFINITY : tokensHeld(statistics, layer, use.heldShare);
  const k = Math.min(held, use.windowTokens, use.seenTokens);
  if (k === Number.POSITIVE_INFINITY) return 0;
  const freshAfter = (seen: number) => {
    let share = 0;
    for (let i = 0; i < tokens; i++) share += freshShare(statistics, layer, seen + i);
    return Math.min(named, share);
  };
  if (k >= 1) return freshAfter(k);
  // Below one token's set: the part that is kept is hit as often as a whole set would be.
  return named - k * (named - freshAfter(1));
}

/** What of a layer its slots hold once a token has come, as a share of `dFf`: s_agg of the window, or of the tokens there were, as far as it fits. */
export function heldShare(statistics: SparsityStatistics, layer: number, use: CacheUse): number {
  const k = Math.max(1, Math.min(use.windowTokens, use.seenTokens + 1));
  const union = k === Number.POSITIVE_INFINITY ? 1 : unionShare(statistics, layer, k);
  return Math.min(use.heldShare, union);
}

/** @throws {InputError} `INPUT_INVALID` naming the field. */
export function checkSparsity(statistics: SparsityStatistics, nLayers: number): void {
  const fault = findSparsityFault(statistics, nLayers);
  if (fault === null) return;
  const { field, expected, found } = fault;
  const message = `sparsity (${statistics.source}): ${field} is ${showValue(found)}, expected ${expected}`;
  throw new InputError("INPUT_INVALID", message, { details: { field } });
}
