/**
 * Traces of a made-up router: which experts each token chooses in each layer. They are no trained model's.
 *
 * Markov: an expert that the token before chose is chosen again with probability `stay`. Zipf: the others are drawn by
 * popularity, the i-th most popular expert of a layer with weight i^-skew. Which one that is differs between layers, and
 * changes every `driftTokens`, as a session's subjects do.
 */
import { Random } from "@flashwick/core";
import type { NeuronTrace } from "./neuron-trace.js";

export interface RouterTraceOptions {
  readonly nLayers: number;
  readonly nExperts: number;
  /** Experts that a token chooses in a layer. */
  readonly topK: number;
  readonly tokens: number;
  /** In [0, 1]. With `stay` and `skew` 0 choices are independent: nothing can be known of them. */
  readonly stay: number;
  readonly skew: number;
  /** Infinity: popularity never changes. */
  readonly driftTokens: number;
  readonly seed: number;
}

export function routerTrace(options: RouterTraceOptions): NeuronTrace {
  const { nLayers, nExperts, tokens } = options;
  const routers = Array.from({ length: nLayers }, (_, layer) => new LayerRouter(options, layer));
  const sets = Array.from({ length: tokens }, (_, token) => routers.map((router) => router.choose(token)));
  return { nLayers, dFf: nExperts, tokens: sets };
}

class LayerRouter {
  readonly #options: RouterTraceOptions;
  readonly #random: Random;
  #weights: readonly number[] = [];
  #chosen: readonly number[] = [];

  constructor(options: RouterTraceOptions, layer: number) {
    this.#options = options;
    this.#random = new Random(options.seed, layer);
    this.#weights = this.#drawPopularity();
  }

  choose(token: number): Uint32Array {
    const { topK, stay, driftTokens } = this.#options;
    if (token > 0 && token % driftTokens === 0) this.#weights = this.#drawPopularity();
    const chosen = this.#chosen.filter(() => this.#random.uniform() < stay);
    while (chosen.length < topK) chosen.push(this.#draw(chosen));
    this.#chosen = chosen.sort((a, b) => a - b);
    return Uint32Array.from(chosen);
  }

  #drawPopularity(): number[] {
    const { nExperts, skew } = this.#options;
    const weights = Array.from({ length: nExperts }, (_, i) => (i + 1) ** -skew);
    for (let i = nExperts - 1; i > 0; i--) {
      const j = this.#random.below(i + 1);
      [weights[i], weights[j]] = [weights[j]!, weights[i]!];
    }
    return weights;
  }

  /** An expert that is not among the chosen. */
  #draw(chosen: readonly number[]): number {
    const weights = this.#weights.map((weight, expert) => (chosen.includes(expert) ? 0 : weight));
    let left = this.#random.uniform() * weights.reduce((sum, weight) => sum + weight, 0);
    const drawn = weights.findIndex((weight) => weight > 0 && (left -= weight) < 0);
    return drawn >= 0 ? drawn : weights.findLastIndex((weight) => weight > 0);
  }
}
