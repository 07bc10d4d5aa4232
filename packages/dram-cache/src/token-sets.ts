/** Sets of neurons that tokens name: ascending arrays without repetition. */
import { InputError } from "@flashwick/core";

/**
 * @param what How an error calls the set.
 * @throws {InputError} `INPUT_INVALID` if the set is not ascending and distinct, with every neuron below `dFf`.
 */
export function checkSet(set: Uint32Array, what: string, dFf: number): void {
  let least = 0;
  for (let i = 0; i < set.length; i++) {
    const neuron = set[i]!;
    if (neuron < least || neuron >= dFf) throw notASet(what, set, i, dFf);
    least = neuron + 1;
  }
}

/** Index of the first member that is at least `neuron`; the set's length if there is none. Binary search. */
export function lowerBound(set: Uint32Array, neuron: number): number {
  let low = 0;
  let high = set.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (set[middle]! < neuron) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Binary search. */
export function isMember(set: Uint32Array, neuron: number): boolean {
  return set[lowerBound(set, neuron)] === neuron;
}

/**
 * The union of several sets.
 *
 * @param into Overwritten; at least as long as the union.
 * @returns A view of `into`, ascending.
 * Cost: O(sets · union), allocates nothing but the view.
 */
export function unionOf(sets: readonly Uint32Array[], into: Uint32Array): Uint32Array {
  let length = 0;
  for (const set of sets) length = merge(set, into, length);
  return into.subarray(0, length);
}

/** Merges a set into the first `length` members of `union`, from the far end, so that nothing is overwritten unread. */
function merge(set: Uint32Array, union: Uint32Array, length: number): number {
  const merged = length + set.length - countShared(set, union, length);
  let from = length - 1;
  for (let i = set.length - 1, to = merged - 1; i >= 0; to--) {
    const neuron = set[i]!;
    if (from >= 0 && union[from]! >= neuron) {
      if (union[from] === neuron) i--;
      union[to] = union[from--]!;
    } else {
      union[to] = neuron;
      i--;
    }
  }
  return merged;
}

function countShared(set: Uint32Array, union: Uint32Array, length: number): number {
  let shared = 0;
  for (let i = 0, u = 0; i < set.length && u < length; ) {
    const [neuron, other] = [set[i]!, union[u]!];
    if (neuron === other) shared++;
    if (neuron <= other) i++;
    if (other <= neuron) u++;
  }
  return shared;
}

function notASet(what: string, set: Uint32Array, index: number, dFf: number): InputError {
  const expected = index === 0 ? `a neuron below ${dFf}` : `a neuron above ${set[index - 1]} and below ${dFf}`;
  return new InputError("INPUT_INVALID", `${what}[${index}] is ${set[index]}, expected ${expected}; sort the set`, {
    details: { what, index, found: set[index], dFf },
  });
}
