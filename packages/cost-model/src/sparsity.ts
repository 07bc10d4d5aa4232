/**
 * How much of a layer fires, how much of it is named, and how much of that was named lately.
 *
 * s_agg(k), the share of a layer's neurons that any of k consecutive tokens name, says all that a window or an LRU cache needs to be
 * judged: a cache that holds s_agg(k) loads s_agg(k+1) − s_agg(k) for the next token (LLM in a flash, 3.1; the derivative of the
 * working set, P. J. Denning and S. C. Schwartz, "Properties of the working-set model", CACM 15(3), 1972).
 */
import { InputError } from "@flashwick/core";

export interface LayerSparsity {
  /** Truly active neurons of a token; shares are of `dFf`. Null if unknown. */
  readonly activeShare: number | null;
  /** s_agg at each of {@link SparsityStatistics.unionTokens}, not shrinking. The first is what one token names. */
  readonly unionShare: readonly number[];
  /** s_agg(k + 1) − s_agg(k) there: what a token names and none of the k before it has. Not growing. */
  readonly freshShare: readonly number[];
}

export interface SparsityStatistics {
  /** Where the figures come from. */
  readonly source: string;
  /** Ascending from 1. */
  readonly unionTokens: readonly number[];
  readonly layers: readonly LayerSparsity[];
  /** Named neurons of a token over runs of neighbours among them. Null: as chance has it. */
  readonly meanRunNeurons: number | null;
  /** Neurons that a token names in all layers, over the mean: quantiles. Null if unknown. */
  readonly namedQuantiles: { readonly p50: number; readonly p90: number; readonly p99: number } | null;
}

/** Where unions are looked at: enough points that a power law between them is as good as the curve. */
export const UNION_TOKENS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192] as const;

/** Everything named, always: a dense pass. */
export function denseSparsity(nLayers: number): SparsityStatistics {
  const layer: LayerSparsity = { activeShare: null, unionShare: [1], freshShare: [0] };
  return {
    source: "dense",
    unionTokens: [1],
    layers: new Array(nLayers).fill(layer),
    meanRunNeurons: null,
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
  };
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

export interface CacheUse {
  /** Share of the layer that its slots hold. */
  readonly heldShare: number;
  /** The policy's window, the current token included; Infinity: only pressure evicts. */
  readonly windowTokens: number;
  /** Tokens that the cache has seen before this one. */
  readonly seenTokens: number;
}

/**
 * What of a layer one token must load, as a share of `dFf`: s_agg(k+1) − s_agg(k), where k is the least of what the slots hold, the
 * window and the tokens seen. Slots that hold less than one token's set keep a part of it, and hit in that proportion.
 *
 * More slots, a longer window and more tokens never load more.
 */
export function missShare(statistics: SparsityStatistics, layer: number, use: CacheUse): number {
  const named = namedShare(statistics, layer);
  const held = use.heldShare >= 1 ? Number.POSITIVE_INFINITY : tokensHeld(statistics, layer, use.heldShare);
  const k = Math.min(held, use.windowTokens, use.seenTokens);
  if (k === Number.POSITIVE_INFINITY) return 0;
  if (k >= 1) return Math.min(named, freshShare(statistics, layer, k));
  // Below one token's set: the part that is kept is hit as often as a whole set would be.
  return named - k * (named - Math.min(named, freshShare(statistics, layer, 1)));
}

/**
 * @throws {InputError} `INPUT_INVALID` naming the field: shares outside (0, 1], unions that shrink, lists of different lengths.
 */
export function checkSparsity(statistics: SparsityStatistics, nLayers: number): void {
  const { unionTokens, layers } = statistics;
  const fail = (field: string, expected: string, found: unknown) => {
    const message = `sparsity (${statistics.source}): ${field} is ${JSON.stringify(found)}, expected ${expected}`;
    return new InputError("INPUT_INVALID", message, { details: { field } });
  };
  if (layers.length !== nLayers) throw fail("layers", `${nLayers} entries, one a layer of the model`, layers.length);
  const ascending = unionTokens[0] === 1 && unionTokens.every((k, i) => i === 0 || k > unionTokens[i - 1]!);
  if (!ascending) throw fail("unionTokens", "ascending numbers from 1", unionTokens);
  for (const [l, { unionShare: unions, freshShare: fresh }] of layers.entries()) {
    const isUnion = (share: number, i: number) => share > 0 && share <= 1 && (i === 0 || share >= unions[i - 1]!);
    const isFresh = (share: number, i: number) => share >= 0 && share <= 1 && (i === 0 || share <= fresh[i - 1]!);
    if (unions.length !== unionTokens.length || !unions.every(isUnion)) {
      throw fail(`layers[${l}].unionShare`, `${unionTokens.length} shares in (0, 1] that do not shrink`, unions);
    }
    if (fresh.length !== unionTokens.length || !fresh.every(isFresh)) {
      throw fail(`layers[${l}].freshShare`, `${unionTokens.length} shares in [0, 1] that do not grow`, fresh);
    }
  }
}
