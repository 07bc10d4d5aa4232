/** Fields that the config.json of every family has, with the bounds of a believable model. */
import * as v from "valibot";
import { MAX_VOCAB } from "../../geometry-limits.js";

/** A positive integer of at most `max`. */
export function sizeField(max: number) {
  return v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max));
}

/** A token id, or null. Of a list, which newer configurations allow for the end of text, the first. */
export function tokenIdField(whenAbsent: number | null) {
  const id = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_VOCAB));
  const first = v.pipe(
    v.array(id),
    v.transform((ids) => ids[0] ?? null),
  );
  return v.optional(v.nullable(v.union([id, first])), whenAbsent);
}
