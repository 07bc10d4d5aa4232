/** Which of the units that a step uses get slots, where there are fewer slots than units: what passes through needs none. */
import type { NeuronCache } from "@flashwick/dram-cache";
import { topUnits } from "./top-units.js";

/**
 * Those that have a slot, then of the others those of the largest scores, as far as slots reach. Admitting all of them in waves would push out what the
 * next wave needs.
 *
 * @param used Ascending. @param scores Of every unit.
 * @returns Ascending; `used` itself where all of it has room.
 */
export function admissibleUnits(
  cache: Pick<NeuronCache, "slotOf" | "slotCount">,
  used: Uint32Array,
  scores: Float32Array,
): Uint32Array {
  if (used.length <= cache.slotCount) return used;
  const missing = used.filter((unit) => cache.slotOf(unit) < 0);
  const hits = used.length - missing.length;
  const best = topUnits(
    Float32Array.from(missing, (unit) => scores[unit]!),
    cache.slotCount - hits,
  );
  const admitted = new Set(Array.from(best, (i) => missing[i]!));
  return used.filter((unit) => cache.slotOf(unit) >= 0 || admitted.has(unit));
}
