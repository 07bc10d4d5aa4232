/**
 * Counts what a predictor names, token after token, into the statistics that a cost model needs (core: SparsityStatistics).
 *
 * A neuron that token t names, and that was last named d tokens before, is fresh to every window of fewer than d tokens: so one
 * distance a neuron gives s_agg(k + 1) − s_agg(k) for all k at once, and their sums give s_agg. Sequences are counted apart: what the one
 * before has named is forgotten.
 */
import { assert, type LayerSparsity, type SparsityStatistics } from "@flashwick/core";

/** Longest window that is counted, in tokens. */
const MOST_TOKENS = 192;

/** Unevenness is looked at behind a window of so many tokens. */
const UNEVEN_AFTER_TOKENS = 8;

/** Percentiles need some tokens. */
const LEAST_TOKENS_FOR_QUANTILES = 100;

/** Counts what tokens name and what comes back, for {@link SparsityStatistics}. */
export class SparsityTally {
  readonly #widths: readonly number[];
  readonly #layers: readonly LayerTally[];
  /** Named neurons of each token, all layers. */
  readonly #named: number[] = [];
  /** Runs of neighbours, and how many there would be if neurons were named without regard to their neighbours. */
  #runs = 0;
  #chanceRuns = 0;

  /** @param dFf Neurons of a layer, or of each. Memory: four bytes a neuron of every layer. */
  constructor(nLayers: number, dFf: number | readonly number[]) {
    this.#widths = typeof dFf === "number" ? new Array<number>(nLayers).fill(dFf) : dFf;
    this.#layers = this.#widths.map((width) => new LayerTally(width));
  }

  /** A new sequence begins. */
  begin(): void {
    for (const layer of this.#layers) layer.begin();
  }

  /**
   * One layer of the next token; tokens of a layer come in order, layers in any.
   *
   * @param named Ascending neurons.
   * @param truly How many are truly active, named or not; null if not known.
   */
  add(layer: number, named: ArrayLike<number>, truly: number | null = null): void {
    const tally = this.#layers[layer]!;
    const token = tally.add(named, truly);
    this.#named[token] = (this.#named[token] ?? 0) + named.length;
    this.#chanceRuns += named.length * (1 - named.length / this.#widths[layer]!);
    for (let i = 0; i < named.length; i++) if (i === 0 || named[i]! !== named[i - 1]! + 1) this.#runs++;
  }

  /**
   * What was counted so far.
   *
   * @param source  Where the text and the model came from.
   * @param at      Windows to tell of, ascending from 1, each at most 192 tokens; those that no sequence was long enough for are left out.
   */
  statistics(source: string, at: readonly number[]): SparsityStatistics {
    const longest = this.#layers[0]!.longest;
    assert(longest > 0, "statistics of at least one token");
    const unionTokens = at.filter((k) => k === 1 || k < longest);
    const total = this.#named.reduce((sum, count) => sum + count, 0);
    return {
      source,
      unionTokens,
      layers: this.#layers.map((layer, l) => layer.shares(unionTokens, this.#widths[l]!)),
      clumping: this.#runs > 0 ? Math.max(1, this.#chanceRuns / this.#runs) : null,
      namedQuantiles: quantiles(this.#named, total / this.#named.length),
    };
  }
}

class LayerTally {
  /** The token that named each neuron last, counted over all sequences; −1: none of this sequence. */
  readonly #last: Int32Array;
  /** Differences of: how many neurons were fresh to a window of k tokens, at k. */
  readonly #freshSteps = new Float64Array(MOST_TOKENS + 2);
  /** Tokens that had k tokens before them. */
  readonly #tokensAfter = new Float64Array(MOST_TOKENS + 1);
  /** Of tokens behind a window: how many, their fresh neurons, and the squares of these. */
  readonly #uneven = { tokens: 0, sum: 0, squares: 0 };
  #named = 0;
  #active = 0;
  #knowsActive = true;
  #token = 0;
  #first = 0;
  longest = 0;

  constructor(dFf: number) {
    this.#last = new Int32Array(dFf).fill(-1);
  }

  begin(): void {
    this.#last.fill(-1);
    this.#first = this.#token;
  }

  /** @returns The token's number, over all sequences. */
  add(named: ArrayLike<number>, truly: number | null): number {
    const token = this.#token++;
    const before = Math.min(MOST_TOKENS, token - this.#first);
    for (let k = 1; k <= before; k++) this.#tokensAfter[k]!++;
    let fresh = 0;
    for (let i = 0; i < named.length; i++) {
      const neuron = named[i]!;
      const last = this.#last[neuron]!;
      // Fresh to windows of 1 … d − 1 tokens, as far as there were so many.
      const widest = last < 0 ? before : Math.min(before, token - last - 1);
      if (widest >= 1) {
        this.#freshSteps[1]!++;
        this.#freshSteps[widest + 1]!--;
      }
      if (widest >= UNEVEN_AFTER_TOKENS) fresh++;
      this.#last[neuron] = token;
    }
    if (before >= UNEVEN_AFTER_TOKENS) {
      this.#uneven.tokens++;
      this.#uneven.sum += fresh;
      this.#uneven.squares += fresh * fresh;
    }
    this.#named += named.length;
    if (truly === null) this.#knowsActive = false;
    else this.#active += truly;
    this.longest = Math.max(this.longest, token - this.#first + 1);
    return token;
  }

  shares(at: readonly number[], dFf: number): LayerSparsity {
    const perToken = this.#token * dFf;
    // A layer that has named nothing yet still names something: shares are above zero.
    const unions = [Math.max(this.#named / perToken, 1 / (2 * perToken))];
    const fresh: number[] = [];
    let neurons = 0;
    let least = unions[0]!;
    for (let k = 1; k <= MOST_TOKENS; k++) {
      neurons += this.#freshSteps[k]!;
      const tokens = this.#tokensAfter[k]!;
      // Few tokens have long pasts: their noise must not make a longer window load more.
      least = tokens > 0 ? Math.min(least, neurons / (tokens * dFf)) : least;
      fresh.push(least);
      unions.push(Math.min(1, unions[k - 1]! + least));
    }
    return {
      activeShare: this.#knowsActive ? this.#active / perToken : null,
      unionShare: at.map((k) => unions[k - 1]!),
      freshShare: at.map((k) => fresh[k - 1]!),
      unevenness: this.#unevenness(),
    };
  }

  #unevenness(): number | null {
    const { tokens, sum, squares } = this.#uneven;
    return sum > 0 ? Math.max(0, (squares * tokens) / sum ** 2 - 1) : null;
  }
}

function quantiles(counts: readonly number[], mean: number): SparsityStatistics["namedQuantiles"] {
  if (counts.length < LEAST_TOKENS_FOR_QUANTILES || mean === 0) return null;
  const sorted = [...counts].sort((a, b) => a - b);
  const at = (share: number) => Math.max(sorted[Math.ceil(share * sorted.length) - 1]!, 1) / mean;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}
