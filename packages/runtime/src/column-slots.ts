/** The slots of one layer's columns of one kind: what a unit's coefficient is multiplied with, a column of each part. */
import type { ColumnRecords, RecordDType } from "@flashwick/core";
import type { SlotMatrix } from "@flashwick/kernels";
import { RecordSlots, type RecordSlotsParts } from "./record-slots.js";

export interface ColumnSlotsParts extends RecordSlotsParts {
  readonly dtype: RecordDType;
  readonly records: ColumnRecords;
}

export class ColumnSlots extends RecordSlots<ColumnSlotsParts> {
  /** Of each part, for `ffnDown`. */
  readonly matrices: readonly SlotMatrix[];

  constructor(parts: ColumnSlotsParts) {
    super(parts);
    const { dtype, records, slotBase } = parts;
    const { strideBytes, width } = records;
    this.matrices = records.parts.map(({ offsetBytes, scaleOffsetBytes }) => ({
      ...{ dtype, base: slotBase, strideBytes, dModel: width, bias: 0, gate: null },
      // Only the column is read, and of scales the second.
      ...{ upOffsetBytes: offsetBytes, downOffsetBytes: offsetBytes },
      scalesOffsetBytes: scaleOffsetBytes === null ? 0 : scaleOffsetBytes - 4,
    }));
  }
}
