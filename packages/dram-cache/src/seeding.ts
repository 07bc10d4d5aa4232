/** What becomes resident when a cache starts anew from the sets of the last tokens. */
import type { CachePolicy } from "./cache-policy.js";
import type { LastUse } from "./last-use.js";
import { ABSENT, type SlotTable } from "./slot-table.js";

/** In place of a slot: the neuron is absent, and about to be loaded. */
const WANTED = -2;

/**
 * Chooses what `seed` makes resident: the newest set, then pinned neurons of the others, then the others of the window,
 * newest first. Of a set that does not fit, the lower neurons are left out, as eviction would.
 *
 * @param sets  Oldest first.
 * @param seeds Filled with the chosen neurons, as many as there is room for.
 * @param lastUse Stamps of all slots are 0; those of resident neurons that are chosen are set.
 * @returns How many were chosen. They are ascending.
 */
export function chooseSeeds(
  sets: readonly Uint32Array[],
  seeds: Uint32Array,
  { windowTokens, isPinned }: CachePolicy,
  table: SlotTable,
  lastUse: LastUse,
): number {
  let count = 0;
  const want = (set: Uint32Array, only: ((neuron: number) => boolean) | null) => {
    for (let i = set.length - 1; i >= 0 && count < seeds.length; i--) {
      if ((only === null || only(set[i]!)) && mark(set[i]!, table, lastUse)) seeds[count++] = set[i]!;
    }
  };
  const newestFirst = sets.toReversed();
  for (const [age, set] of newestFirst.entries()) if (age === 0 || isPinned) want(set, age === 0 ? null : isPinned);
  for (const [age, set] of newestFirst.entries()) if (age > 0 && age < windowTokens) want(set, null);
  const chosen = seeds.subarray(0, count).sort();
  for (const neuron of chosen) if (table.slotOf[neuron] === WANTED) table.slotOf[neuron] = ABSENT;
  return count;
}

/** False if the neuron was marked before. */
function mark(neuron: number, { slotOf }: SlotTable, { lastKActive, token }: LastUse): boolean {
  const slot = slotOf[neuron]!;
  if (slot === WANTED || (slot >= 0 && lastKActive[slot]! > 0)) return false;
  if (slot >= 0) lastKActive[slot] = token;
  else slotOf[neuron] = WANTED;
  return true;
}
