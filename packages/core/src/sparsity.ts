/**
 * How much of a layer fires, how much of it is named, and how much of that was named lately: plain data that training measures, the
 * predictor's file carries and the cost model reckons with.
 */

/** The statistics of one layer. */
export interface LayerSparsity {
  /** Truly active neurons of a token; shares are of `dFf`. Null if unknown. */
  readonly activeShare: number | null;
  /** s_agg at each of {@link SparsityStatistics.unionTokens}, not shrinking. The first is what one token names. */
  readonly unionShare: readonly number[];
  /** s_agg(k + 1) − s_agg(k) there: what a token names and none of the k before it has. Not growing. */
  readonly freshShare: readonly number[];
  /** Variance over squared mean of what a token names afresh: how uneven the tokens are. Null if unknown. */
  readonly unevenness: number | null;
}

/** How many neurons tokens name, and how many of them come back: what the cost model needs to know of a text. */
export interface SparsityStatistics {
  /** Where the figures come from. */
  readonly source: string;
  /** Ascending from 1. */
  readonly unionTokens: readonly number[];
  readonly layers: readonly LayerSparsity[];
  /** How much longer runs of neighbours among named neurons are than chance has them; 1: as chance has it. Null if unknown. */
  readonly clumping: number | null;
  /** Neurons that a token names in all layers, over the mean: quantiles. Null if unknown. */
  readonly namedQuantiles: { readonly p50: number; readonly p90: number; readonly p99: number } | null;
}

/** What is wrong with statistics: the field, what was expected of it, what was found. */
export interface SparsityFault {
  readonly field: string;
  readonly expected: string;
  readonly found: unknown;
}

/** The first thing that is wrong with statistics of a model of `nLayers` layers; null if nothing is. */
export function findSparsityFault(statistics: SparsityStatistics, nLayers: number): SparsityFault | null {
  const { unionTokens, layers, namedQuantiles, clumping } = statistics;
  if (layers.length !== nLayers) {
    return { field: "layers", expected: `${nLayers} entries, one a layer of the model`, found: layers.length };
  }
  if (!(unionTokens[0] === 1 && unionTokens.every((k, i) => i === 0 || k > unionTokens[i - 1]!))) {
    return { field: "unionTokens", expected: "ascending numbers from 1", found: unionTokens };
  }
  if (clumping !== null && !(clumping >= 1)) {
    return { field: "clumping", expected: "at least 1, or null", found: clumping };
  }
  if (
    namedQuantiles &&
    !Object.values(namedQuantiles).every((factor) => factor > 0 && factor < Number.POSITIVE_INFINITY)
  ) {
    return { field: "namedQuantiles", expected: "positive numbers", found: namedQuantiles };
  }
  for (const [layer, { unionShare, freshShare }] of layers.entries()) {
    const isUnion = (share: number, i: number) => share > 0 && share <= 1 && (i === 0 || share >= unionShare[i - 1]!);
    const isFresh = (share: number, i: number) => share >= 0 && share <= 1 && (i === 0 || share <= freshShare[i - 1]!);
    if (unionShare.length !== unionTokens.length || !unionShare.every(isUnion)) {
      const expected = `${unionTokens.length} shares in (0, 1] that do not shrink`;
      return { field: `layers[${layer}].unionShare`, expected, found: unionShare };
    }
    if (freshShare.length !== unionTokens.length || !freshShare.every(isFresh)) {
      const expected = `${unionTokens.length} shares in [0, 1] that do not grow`;
      return { field: `layers[${layer}].freshShare`, expected, found: freshShare };
    }
  }
  return null;
}
