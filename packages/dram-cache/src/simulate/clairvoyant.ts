import { InputError } from "@flashwick/core";
import { checkTrace, type NeuronTrace } from "./neuron-trace.js";

/**
 * Belady's optimum (MIN, IBM Systems Journal 5, 1966): which neurons a layer's cache that knows the future would have to read, token by token.
 * When there is no free slot, the neuron that is needed again last leaves.
 *
 * A token's neurons are taken to be wanted one after another, ascending, which is what waves do, at their finest. So no policy misses less,
 * whether a token fits the slots or passes in waves; and where a token must lie in the slots as a whole, a policy may not reach it.
 *
 * @param slotCount At least 1.
 * @returns By token: the neurons that it misses, ascending.
 * @throws {InputError} `INPUT_INVALID` for a damaged trace, a layer that is not there, or no slots.
 * Cost: O(n log n), and eight bytes, for each of the n named neurons of the layer.
 */
export function clairvoyantMisses(trace: NeuronTrace, layer: number, slotCount: number): Uint32Array[] {
  checkTrace(trace);
  if (!(layer >= 0 && layer < trace.nLayers && slotCount >= 1)) {
    const message = `clairvoyant cache: layer ${layer} with ${slotCount} slots, expected one of ${trace.nLayers} layers and a slot at least`;
    throw new InputError("INPUT_INVALID", message);
  }
  const { wanted, nextUse } = listUses(trace, layer);
  const resident = new Uint8Array(trace.dFf);
  const leaving = new MaxHeap();
  let used = 0;
  let at = 0;
  return trace.tokens.map((sets) =>
    sets[layer]!.filter((neuron) => {
      const use = at++;
      const isMiss = resident[neuron] === 0;
      if (isMiss && used === slotCount) resident[wanted(leaving.pop())] = 0;
      else if (isMiss) used++;
      resident[neuron] = 1;
      // The entry of a use that has come stays in the heap, below all that are still to come.
      leaving.push(nextUse[use]!);
      return isMiss;
    }),
  );
}

/** Uses of a layer's neurons, numbered in the order in which they are wanted; those that never come get numbers of their own, beyond. */
function listUses({ tokens, dFf }: NeuronTrace, layer: number) {
  const neurons: number[] = [];
  for (const sets of tokens) for (const neuron of sets[layer]!) neurons.push(neuron);
  const count = neurons.length;
  const soonest = Float64Array.from({ length: dFf }, (_, neuron) => count + neuron);
  const nextUse = new Float64Array(count);
  for (let use = count - 1; use >= 0; use--) {
    const neuron = neurons[use]!;
    nextUse[use] = soonest[neuron]!;
    soonest[neuron] = use;
  }
  const wanted = (use: number): number => (use < count ? neurons[use]! : use - count);
  return { wanted, nextUse };
}

/** Numbers; the largest comes out first. */
class MaxHeap {
  readonly #values: number[] = [];

  push(value: number): void {
    const values = this.#values;
    let at = values.length;
    values.push(value);
    for (let parent = (at - 1) >> 1; at > 0 && values[parent]! < value; parent = (at - 1) >> 1) {
      values[at] = values[parent]!;
      at = parent;
    }
    values[at] = value;
  }

  /** Only of a heap that is not empty. */
  pop(): number {
    const values = this.#values;
    const largest = values[0]!;
    const last = values.pop()!;
    if (values.length === 0) return largest;
    let at = 0;
    for (let child = 1; child < values.length; child = 2 * at + 1) {
      if (child + 1 < values.length && values[child + 1]! > values[child]!) child++;
      if (values[child]! <= last) break;
      values[at] = values[child]!;
      at = child;
    }
    values[at] = last;
    return largest;
  }
}
