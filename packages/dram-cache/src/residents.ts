/** What a cache shows to the order in which its units leave. */
import type { Residents } from "./cache-policy.js";
import type { LastUse } from "./last-use.js";
import { NO_SLOT } from "./recency-list.js";
import { ABSENT, type SlotTable } from "./slot-table.js";

export function residentsOf(table: SlotTable, lastUse: LastUse): Residents {
  const { pointer, slotOf } = table;
  const unitIn = (slot: number) => (slot === NO_SLOT ? -1 : pointer[slot]!);
  return {
    nUnits: slotOf.length,
    slotCount: pointer.length,
    nLayers: lastUse.nLayers,
    get token() {
      return lastUse.token;
    },
    get tokenBefore() {
      return lastUse.tokenBefore;
    },
    lastUse: (unit) => (slotOf[unit] === ABSENT ? 0 : lastUse.lastKActive[slotOf[unit]!]!),
    oldest: (layer) => unitIn(lastUse.list.first(layer)),
    newer: (unit) => unitIn(lastUse.list.after(slotOf[unit]!)),
  };
}
