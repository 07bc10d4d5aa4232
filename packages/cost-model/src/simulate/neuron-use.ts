/** What tokens ask of the cache: recorded, or drawn from statistics where there is no trace. */
import type { Random, SparsityStatistics } from "@flashwick/core";
import { streamedNeurons } from "../missing-reads.js";
import type { TokenRequest } from "../pass-request.js";
import { missShare, namedShare } from "../sparsity.js";
import { normalQuantile } from "./normal-quantile.js";

/** One token, one layer. */
export interface NeuronUse {
  /** Neurons that the token computes with. */
  readonly named: number;
  /** Of them, those to be read. At most `named`. */
  readonly missing: number;
  /**
   * Reads, in neurons each, gaps that are read over included; their sum is at least `missing`. Absent: as many as is expected for
   * `missing` neurons of this layer.
   */
  readonly runs?: readonly number[];
  /** With `runs`: pieces of memory beyond one a read, in all of them. Absent: a piece a neuron. */
  readonly extraPieces?: number;
}

/** What is drawn from: the cache's room decides what is missing. */
export interface UseRequest
  extends Pick<TokenRequest, "shape" | "sparsity" | "settings" | "slotsByLayer" | "seenTokens"> {
  readonly tokens: number;
}

/**
 * Use by `[token][layer]`. A token names more or less than the mean in all its layers, as `namedQuantiles` says. What it misses follows:
 * in proportion, or as uneven as the layer's `unevenness`. Within a token nothing else scatters. In dense mode everything is named.
 *
 * @param random Null: every token is the mean one.
 */
export function sampleUse(request: UseRequest, random: Random | null): NeuronUse[][] {
  const { settings, tokens } = request;
  const whole = { named: new WholeNumbers(), missing: new WholeNumbers() };
  return Array.from({ length: tokens }, (_, t) => {
    if (settings.mode === "dense") return denseUse(request);
    const scatter = random === null ? null : normalQuantile(random.uniform() + 2 ** -25);
    return predictedUse({ ...request, seenTokens: request.seenTokens + t }, scatter, whole);
  });
}

function denseUse({ shape, settings, slotsByLayer }: UseRequest): NeuronUse[] {
  const { dFf } = shape;
  return slotsByLayer.map((slots) => ({ named: dFf, missing: streamedNeurons(shape, slots, settings.windowTokens) }));
}

function predictedUse(
  { shape, sparsity, settings, slotsByLayer, seenTokens }: UseRequest,
  scatter: number | null,
  whole: { readonly named: WholeNumbers; readonly missing: WholeNumbers },
): NeuronUse[] {
  const { dFf } = shape;
  const factor = scatter === null ? 1 : namedFactor(sparsity.namedQuantiles, scatter);
  return slotsByLayer.map((slots, layer) => {
    const { unevenness } = sparsity.layers[layer]!;
    const missFactor = scatter === null || unevenness === null ? factor : unevenFactor(unevenness, scatter);
    const use = { heldShare: slots / dFf, windowTokens: settings.windowTokens, seenTokens };
    const named = whole.named.next(factor * dFf * namedShare(sparsity, layer), 1, dFf);
    const missing = whole.missing.next(missFactor * dFf * missShare(sparsity, layer, use), 0, named);
    return { named, missing };
  });
}

/** Rounds a series so that its sum is kept: what one number loses the next ones get. A miss in every third layer is no miss else. */
class WholeNumbers {
  #rest = 0;

  next(exact: number, least: number, most: number): number {
    const value = Math.min(most, Math.max(least, Math.round(exact + this.#rest)));
    // What does not fit is lost: it must not pile up.
    this.#rest = Math.min(0.5, Math.max(-0.5, exact + this.#rest - value));
    return value;
  }
}

/** Of the standard normal. */
const Z90 = normalQuantile(0.9);
const Z99 = normalQuantile(0.99);

/**
 * How many times the mean a token names: a quantile function through the three that are known, its logarithm straight between them in
 * the normal's quantiles, below the median as from there to p90, beyond p99 as before it.
 *
 * @param z Of the standard normal.
 */
function namedFactor(quantiles: SparsityStatistics["namedQuantiles"], z: number): number {
  if (quantiles === null) return 1;
  const [at50, at90, at99] = [quantiles.p50, quantiles.p90, quantiles.p99].map(Math.log) as [number, number, number];
  const log = z <= Z90 ? at50 + (z * (at90 - at50)) / Z90 : at90 + ((z - Z90) * (at99 - at90)) / (Z99 - Z90);
  return Math.exp(log);
}

/** Lognormal, of mean 1 and a given variance. */
function unevenFactor(variance: number, z: number): number {
  const sigma = Math.sqrt(Math.log(1 + variance));
  return Math.exp(sigma * z - (sigma * sigma) / 2);
}
