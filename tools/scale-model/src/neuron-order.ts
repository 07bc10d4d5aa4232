/**
 * In which order the copies of a layer's neurons stand: shuffled, so that what is active together does not lie together,
 * as in a trained model; a layer's order is a function of seed and layer.
 */
import { Random } from "@flashwick/core";

/** With fewer different neurons there may be no such order. */
const LEAST_TO_SEPARATE = 8;

/**
 * A permutation of `0 … dFf * copies - 1`; entry i names copy `floor(entry / dFf)` of source neuron `entry % dFf`.
 * Two copies of one neuron are never neighbours, given at least eight neurons.
 */
export function neuronOrder(dFf: number, copies: number, seed: number, layer: number): Uint32Array {
  const random = new Random(seed, layer);
  const order = Uint32Array.from({ length: dFf * copies }, (_, i) => i);
  for (let i = order.length - 1; i > 0; i--) swap(order, i, random.below(i + 1));
  if (copies > 1 && dFf >= LEAST_TO_SEPARATE) separateCopies(order, dFf, random);
  return order;
}

/** Moves each entry that stands after a copy of itself to a place where both it and what it replaces have other neighbours. */
function separateCopies(order: Uint32Array, dFf: number, random: Random): void {
  for (let i = 1; i < order.length; i++) {
    while (touches(order, i, dFf)) {
      const j = random.below(order.length);
      swap(order, i, j);
      // What stands before i is in order already, and must stay so.
      if (touches(order, j, dFf) && j !== i) swap(order, i, j);
    }
  }
}

/** True if a neighbour of the entry at i is a copy of the same neuron. */
function touches(order: Uint32Array, i: number, dFf: number): boolean {
  const neuron = order[i]! % dFf;
  return (i > 0 && order[i - 1]! % dFf === neuron) || (i + 1 < order.length && order[i + 1]! % dFf === neuron);
}

function swap(order: Uint32Array, i: number, j: number): void {
  const kept = order[i]!;
  order[i] = order[j]!;
  order[j] = kept;
}
