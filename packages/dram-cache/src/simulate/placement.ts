/**
 * Orders of a layer's neurons on flash. Neighbouring records are one read, so neurons that miss together should be neighbours.
 *
 * A placement of a layer is a permutation: at i, which neuron the record i holds.
 */
import { InputError } from "@flashwick/core";
import { checkTrace, type NeuronTrace } from "./neuron-trace.js";

/** Neurons by falling frequency in a layer of the trace; among equals the lower neuron first. Cost: O(named + dFf log dFf). */
export function hotnessOrder(trace: NeuronTrace, layer: number): Uint32Array {
  const uses = countUses(trace, layer);
  return Uint32Array.from({ length: trace.dFf }, (_, neuron) => neuron).sort((a, b) => uses[b]! - uses[a]! || a - b);
}

/** How {@link coActivationOrder} looks for neurons that are used together. */
export interface CoActivationOptions {
  /** Neurons that more than this share of the tokens name are everyone's neighbours: they stand first and are linked to none. Default 0.5. */
  readonly hotShare?: number;
  /** Of each neuron only so many partners are candidates for a link, the most frequent. Default 64. */
  readonly partners?: number;
}

/**
 * Chains of neurons that are named together, after Ripple (Wang et al., "Ripple: accelerating LLM inference on smartphones with correlation-aware
 * neuron management", 2024): pairs by falling count, linked as long as neither has two neighbours yet and no ring closes; then the chains one
 * behind the other, those with the more frequent neurons first.
 *
 * @param trace What is to be read together: the named sets, or those that a cache misses.
 * @returns A permutation of the layer's neurons.
 * Cost: O(Σ n²) over tokens of n neurons, then O(dFf · partners · log); holds `dFf · partners` pairs.
 */
export function coActivationOrder(
  trace: NeuronTrace,
  layer: number,
  { hotShare = 0.5, partners = 64 }: CoActivationOptions = {},
): Uint32Array {
  const uses = countUses(trace, layer);
  const isHot = uses.map((count) => (count > hotShare * trace.tokens.length ? 1 : 0));
  const chains = new Chains(trace.dFf);
  for (const [a, b] of frequentPairs(trace, layer, isHot, partners)) chains.link(a, b);
  const heat = (chain: readonly number[]) => chain.reduce((sum, neuron) => sum + uses[neuron]!, 0) / chain.length;
  const hot = [...hotnessOrder(trace, layer)].filter((neuron) => isHot[neuron] === 1);
  const rest = chains
    .walk()
    .filter(([first]) => isHot[first!] === 0)
    .map((chain) => ({ chain, heat: heat(chain) }))
    .sort((a, b) => b.heat - a.heat || a.chain[0]! - b.chain[0]!);
  return Uint32Array.from([...hot, ...rest.flatMap(({ chain }) => chain)]);
}

/**
 * The trace as a file with this placement would have recorded it: neurons numbered by the position of their record.
 *
 * @param placement A permutation by layer.
 * @throws {InputError} `INPUT_INVALID` naming the layer whose placement is no permutation of the trace's neurons.
 */
export function placeTrace(trace: NeuronTrace, placement: readonly Uint32Array[]): NeuronTrace {
  checkTrace(trace);
  const position = placement.map((order, layer) => invertPlacement(order, trace.dFf, layer));
  if (position.length !== trace.nLayers) {
    throw new InputError("INPUT_INVALID", `placement of ${position.length} layers, expected ${trace.nLayers}`);
  }
  const tokens = trace.tokens.map((sets) => sets.map((set, layer) => set.map((n) => position[layer]![n]!).sort()));
  return { ...trace, tokens };
}

/** Where each neuron's record stands. @throws {InputError} `INPUT_INVALID` if `order` is no permutation of `dFf` neurons. */
export function invertPlacement(order: Uint32Array, dFf: number, layer: number): Uint32Array {
  const position = new Uint32Array(dFf).fill(dFf);
  for (const [at, neuron] of order.entries()) if (neuron < dFf) position[neuron] = at;
  if (order.length === dFf && position.every((at) => at < dFf)) return position;
  const message = `placement of layer ${layer}: ${order.length} entries, expected each of ${dFf} neurons once`;
  throw new InputError("INPUT_INVALID", message, { details: { layer } });
}

function countUses({ tokens, dFf }: NeuronTrace, layer: number): Float64Array {
  const uses = new Float64Array(dFf);
  for (const sets of tokens) for (const neuron of sets[layer]!) uses[neuron]!++;
  return uses;
}

/** Pairs of neurons that are not hot, by falling count, each once; of each neuron the `partners` most frequent ones. */
function frequentPairs(
  { tokens, dFf }: NeuronTrace,
  layer: number,
  isHot: ArrayLike<number>,
  partners: number,
): (readonly [number, number])[] {
  const tokensOf: number[][] = Array.from({ length: dFf }, () => []);
  for (const [t, sets] of tokens.entries()) for (const neuron of sets[layer]!) tokensOf[neuron]!.push(t);
  const together = new Uint32Array(dFf);
  const pairs: { readonly a: number; readonly b: number; readonly count: number }[] = [];
  for (let a = 0; a < dFf; a++) {
    if (isHot[a] === 1) continue;
    const met: number[] = [];
    for (const t of tokensOf[a]!) {
      for (const b of tokens[t]![layer]!) {
        if (b <= a || isHot[b] === 1) continue;
        if (together[b]!++ === 0) met.push(b);
      }
    }
    met.sort((b, c) => together[c]! - together[b]! || b - c);
    for (const b of met.slice(0, partners)) pairs.push({ a, b, count: together[b]! });
    for (const b of met) together[b] = 0;
  }
  pairs.sort((p, q) => q.count - p.count || p.a - q.a || p.b - q.b);
  return pairs.map(({ a, b }) => [a, b]);
}

/** Paths over neurons: each has two neighbours at most, and no path closes to a ring. */
class Chains {
  readonly #neighbours: number[][];
  /** Union-find, with path halving. */
  readonly #parent: Uint32Array;

  constructor(dFf: number) {
    this.#neighbours = Array.from({ length: dFf }, () => []);
    this.#parent = Uint32Array.from({ length: dFf }, (_, neuron) => neuron);
  }

  link(a: number, b: number): void {
    const [ofA, ofB] = [this.#neighbours[a]!, this.#neighbours[b]!];
    if (ofA.length === 2 || ofB.length === 2) return;
    const [rootA, rootB] = [this.#root(a), this.#root(b)];
    if (rootA === rootB) return;
    this.#parent[rootA] = rootB;
    ofA.push(b);
    ofB.push(a);
  }

  /** Every path from its lower end; neurons without a link are paths of one. */
  walk(): number[][] {
    const seen = new Uint8Array(this.#parent.length);
    const chains: number[][] = [];
    for (let start = 0; start < this.#parent.length; start++) {
      if (seen[start] === 1 || this.#neighbours[start]!.length === 2) continue;
      const chain: number[] = [];
      for (let at: number | undefined = start; at !== undefined; ) {
        seen[at] = 1;
        chain.push(at);
        at = this.#neighbours[at]!.find((next) => seen[next] === 0);
      }
      chains.push(chain);
    }
    return chains;
  }

  #root(neuron: number): number {
    const parent = this.#parent;
    let at = neuron;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!;
      at = parent[at]!;
    }
    return at;
  }
}
