/** What is admitted together: the sets of one token or of several, of one layer. */
import { InputError } from "@flashwick/core";
import type { LastUse } from "./last-use.js";
import { checkSet, unionOf } from "./token-sets.js";

export interface Step {
  readonly layer: number;
  /** Those of each token, oldest first. */
  readonly sets: readonly Uint32Array[];
  /** Their union; in scratch that other caches may share, so for the step's waves only. */
  readonly neurons: Uint32Array;
}

/**
 * Checks what a cache is asked to admit.
 *
 * @param dFf     Neurons of the cache. @param union Room for the union of several sets.
 * @param lastUse Of the cache.
 * @param layer   Of a pool, undefined: that of what is named, and if nothing is, the one after the layer before.
 * @returns In a pool the sets are copies, since `retract` reads them when later layers have been admitted.
 * @throws {InputError} `INPUT_INVALID` for sets that are not ascending, distinct and of the layer, or none.
 */
export function readStep(
  named: Uint32Array | readonly Uint32Array[],
  dFf: number,
  union: Uint32Array,
  lastUse: LastUse,
  layer?: number,
): Step {
  const given = named instanceof Uint32Array ? [named] : [...named];
  if (given.length === 0) {
    throw new InputError("INPUT_INVALID", "named has no sets, expected one for each token, at least one");
  }
  const what = (i: number) => (named instanceof Uint32Array ? "named" : `named[${i}]`);
  for (const [i, set] of given.entries()) checkSet(set, what(i), dFf);
  const ofLayer = layer ?? layerNamed(given, lastUse);
  for (const [i, set] of given.entries()) checkLayer(set, what(i), ofLayer, lastUse);
  const sets = lastUse.nLayers === 1 ? given : given.map((set) => set.slice());
  return { layer: ofLayer, sets, neurons: sets.length === 1 ? sets[0]! : unionOf(sets, union) };
}

function layerNamed(sets: readonly Uint32Array[], lastUse: LastUse): number {
  const first = sets.find(({ length }) => length > 0)?.[0];
  if (first !== undefined) return lastUse.layerOf(first);
  return lastUse.layer + 1 < lastUse.nLayers && lastUse.continuesWith(lastUse.layer + 1) ? lastUse.layer + 1 : 0;
}

/** @throws {InputError} `INPUT_INVALID` if there is no such layer, or the set names units of another one. */
function checkLayer(set: Uint32Array, what: string, layer: number, lastUse: LastUse): void {
  const { nLayers } = lastUse;
  if (!(Number.isSafeInteger(layer) && layer >= 0 && layer < nLayers)) {
    const message = `a neuron cache admits layer ${layer}, expected one of its ${nLayers}`;
    throw new InputError("INPUT_INVALID", message, { details: { layer, nLayers } });
  }
  if (nLayers === 1 || set.length === 0) return;
  const unit = lastUse.layerOf(set[0]!) === layer ? set.at(-1)! : set[0]!;
  if (lastUse.layerOf(unit) === layer) return;
  const found = `${what} names unit ${unit} of layer ${lastUse.layerOf(unit)}`;
  throw new InputError("INPUT_INVALID", `${found}, expected layer ${layer}; admit a pool's layers one by one`, {
    details: { unit, layer },
  });
}
