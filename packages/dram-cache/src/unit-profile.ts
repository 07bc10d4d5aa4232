/**
 * The profile of a workload: which units of a model it used most, kept beside the model so that the next run can load
 * them before anything is named. Its file form is in profile-file.ts.
 */
import { InputError } from "@flashwick/core";
import type { NeuronTrace } from "./simulate/neuron-trace.js";

/** Which units a workload used most, layer by layer, hottest first. */
export interface UnitProfile {
  /** Of the model: units of another one are others. */
  readonly fingerprint: string;
  /** Units of each layer. */
  readonly nUnits: number;
  /** By layer: the units that were used, hottest first, the lower among equals. */
  readonly hottest: readonly Uint32Array[];
}

/**
 * A profile from counters.
 *
 * @param uses By layer: uses (or any score) of each unit, `[nUnits]`, at least 0.
 * @throws {InputError} `INPUT_INVALID` if there is no layer, or layers are not of one width.
 */
export function profileOfUses(fingerprint: string, uses: readonly ArrayLike<number>[]): UnitProfile {
  const nUnits = uses[0]?.length ?? 0;
  const other = uses.findIndex(({ length }) => length !== nUnits || length === 0);
  if (uses.length === 0 || other >= 0) {
    const found = uses.length === 0 ? "no layers" : `${uses[other]!.length} units in layer ${other}`;
    throw new InputError(
      "INPUT_INVALID",
      `profile: ${found}, expected one number of units, at least 1, in every layer`,
    );
  }
  return { fingerprint, nUnits, hottest: uses.map(hottestFirst) };
}

function hottestFirst(uses: ArrayLike<number>): Uint32Array {
  const used = Array.from(uses, (_, unit) => unit).filter((unit) => uses[unit]! > 0);
  return Uint32Array.from(used.sort((a, b) => uses[b]! - uses[a]! || a - b));
}

/**
 * A profile from a recorded use.
 *
 * @throws {InputError} `INPUT_INVALID` for a trace without layers or units. Cost: O(named).
 */
export function profileOfTrace(fingerprint: string, trace: NeuronTrace): UnitProfile {
  const uses = Array.from({ length: trace.nLayers }, () => new Uint32Array(trace.dFf));
  for (const sets of trace.tokens) {
    for (const [layer, set] of sets.entries()) for (const unit of set) uses[layer]![unit]!++;
  }
  return profileOfUses(fingerprint, uses);
}

/**
 * What `cache.seed` takes to load a layer's hottest units: made-up tokens, each of so many units, the last one of the
 * hottest. By age, by LFU and by least-stale the coldest then leave first; a window keeps only its own length of them.
 *
 * @param slots Most units.
 * @param tokenUnits Of one set, for instance the router's k.
 */
export function layerSeeds({ hottest }: UnitProfile, layer: number, slots: number, tokenUnits: number): Uint32Array[] {
  return seeds(hottest[layer]!.subarray(0, slots), tokenUnits);
}

/** The same for a pool: units `layer * nUnits + unit`, as many of each layer, rank by rank. */
export function poolSeeds({ hottest, nUnits }: UnitProfile, slots: number, tokenUnits: number): Uint32Array[] {
  const byRank: number[] = [];
  for (let rank = 0; rank < nUnits; rank++) {
    for (const [layer, units] of hottest.entries()) {
      if (rank < units.length) byRank.push(layer * nUnits + units[rank]!);
    }
  }
  return seeds(byRank.slice(0, slots), tokenUnits * hottest.length);
}

/** Sets of so many, the first of `hottestFirst` last. */
function seeds(hottestFirst: Uint32Array | readonly number[], size: number): Uint32Array[] {
  const sets: Uint32Array[] = [];
  for (let i = 0; i < hottestFirst.length; i += size) {
    sets.unshift(Uint32Array.from(hottestFirst.slice(i, i + size)).sort());
  }
  return sets;
}
