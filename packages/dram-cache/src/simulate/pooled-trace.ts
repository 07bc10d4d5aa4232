import type { NeuronTrace } from "./neuron-trace.js";

/**
 * A trace as the pool of all layers sees it: one layer, in which expert e of layer l is unit `l * dFf + e`. A token's
 * units, ascending, are in the order in which its layers name them, so `clairvoyantMisses` of this trace is the optimum
 * of a pool.
 */
export function pooledTrace({ nLayers, dFf, tokens }: NeuronTrace): NeuronTrace {
  return { nLayers: 1, dFf: nLayers * dFf, tokens: tokens.map((sets) => [unionOfLayers(sets, dFf)]) };
}

/** @param sets One for each layer. @returns Units of the pool, ascending. */
function unionOfLayers(sets: readonly Uint32Array[], dFf: number): Uint32Array {
  const units = new Uint32Array(sets.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const [layer, set] of sets.entries()) for (const unit of set) units[at++] = layer * dFf + unit;
  return units;
}
