/**
 * How one sample (one token, one layer) lies in memory and in files:
 *
 *     | x: f16 [dModel] | active: one bit a neuron, bit j at byte j>>3, bit j&7 | zeros to a multiple of 16 |
 *
 * little-endian; `recordBytes` from one sample to the next. It is what the trainer's kernels read: labels with their stride.
 */
import { UnsupportedError } from "@flashwick/core";

/** Where the parts of a sample lie, in bytes. */
export interface SampleLayout {
  readonly dModel: number;
  readonly dFf: number;
  /** Byte offset of the active bits in a record. */
  readonly activeOffset: number;
  readonly activeBytes: number;
  readonly recordBytes: number;
}

/** @throws {UnsupportedError} unless both widths are multiples of 4, which the training kernels need. */
export function planSampleLayout(dModel: number, dFf: number): SampleLayout {
  if (dModel % 4 !== 0 || dFf % 4 !== 0) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `training needs widths that are multiples of 4, found dModel ${dModel} and dFf ${dFf}; run this model dense`,
      { details: { dModel, dFf } },
    );
  }
  const activeOffset = 2 * dModel;
  const activeBytes = Math.ceil(dFf / 8);
  return { dModel, dFf, activeOffset, activeBytes, recordBytes: (activeOffset + activeBytes + 15) & ~15 };
}
