/**
 * Where things stand inside a neuron's record, and how far apart records are. Pure arithmetic; SPEC.md, "Records".
 *
 *   bundled   [ up row | down column | int8: up scale, down scale | zeros to the stride ]
 *   split     [ up row | zeros to the stride ]   [ down column | int8: up scale, down scale | zeros to the stride ]
 *
 * Rows are padded with zeros to 16 elements, so that kernels read whole groups.
 */
import {
  InputError,
  type ModelGeometry,
  paddedLength,
  type RecordDType,
  rowBytes,
  type WeightLayout,
} from "@flashwick/core";

/** Strides are multiples of this: the finest unit of direct I/O. */
export const STRIDE_UNIT_BYTES = 512;
/** What flash and page caches read at once. */
export const PAGE_BYTES = 4096;
/** Up scale and down scale, f32 each. */
export const RECORD_SCALES_BYTES = 8;

/**
 * How the weights of a geometry are laid out.
 *
 * @param stride `"auto"`: {@link autoStrideBytes}; else bytes, a multiple of 512 that holds a record (when split, each half).
 * @throws {InputError} `INPUT_INVALID` if `stride` is neither.
 */
export function weightLayout(
  geometry: Pick<ModelGeometry, "dModel">,
  dtype: RecordDType,
  layout: WeightLayout["layout"],
  stride: "auto" | number = "auto",
): WeightLayout {
  const vectorBytes = rowBytes(dtype, paddedLength(geometry.dModel));
  const leastBytes = recordBytes(geometry, dtype, layout);
  const strideBytes = stride === "auto" ? autoStrideBytes(leastBytes) : stride;
  checkStride(strideBytes, leastBytes);
  const downOffsetBytes = layout === "bundled" ? vectorBytes : strideBytes;
  return {
    dtype,
    layout,
    strideBytes,
    downOffsetBytes,
    scalesOffsetBytes: dtype === "int8" ? downOffsetBytes + vectorBytes : null,
    slotBytes: layout === "bundled" ? strideBytes : 2 * strideBytes,
  };
}

/** Bytes of a record before padding; in `split` layout, of its larger half. */
export function recordBytes(
  geometry: Pick<ModelGeometry, "dModel">,
  dtype: RecordDType,
  layout: WeightLayout["layout"],
): number {
  const vectorBytes = rowBytes(dtype, paddedLength(geometry.dModel));
  return (layout === "bundled" ? 2 : 1) * vectorBytes + (dtype === "int8" ? RECORD_SCALES_BYTES : 0);
}

/** True for a stride that can hold a record of `leastBytes`. */
export function isStride(strideBytes: number, leastBytes: number): boolean {
  return Number.isSafeInteger(strideBytes) && strideBytes >= leastBytes && strideBytes % STRIDE_UNIT_BYTES === 0;
}

function checkStride(strideBytes: number, leastBytes: number): void {
  if (isStride(strideBytes, leastBytes)) return;
  const least = roundUp(leastBytes, STRIDE_UNIT_BYTES);
  throw new InputError(
    "INPUT_INVALID",
    `record stride: expected a multiple of ${STRIDE_UNIT_BYTES} that is at least ${least}, found ${strideBytes}; use "auto" or ${least}`,
    { details: { strideBytes, leastStrideBytes: least } },
  );
}

/**
 * The stride rule: the record rounded up to 512 bytes; further to 4096 only where that lowers the expected number of
 * 4 KiB pages that a read of one record touches.
 */
export function autoStrideBytes(leastBytes: number): number {
  const packed = roundUp(leastBytes, STRIDE_UNIT_BYTES);
  const padded = roundUp(leastBytes, PAGE_BYTES);
  return padded / PAGE_BYTES < expectedPages(packed) ? padded : packed;
}

/** Pages touched by a read of one record, on average over all records of a stride: exact, since i·stride mod 4096 is periodic. */
export function expectedPages(strideBytes: number): number {
  const step = greatestCommonDivisor(strideBytes, PAGE_BYTES);
  let pages = 0;
  for (let start = 0; start < PAGE_BYTES; start += step) pages += Math.ceil((start + strideBytes) / PAGE_BYTES);
  return (pages * step) / PAGE_BYTES;
}

/** `value` rounded up to a multiple of `unit`. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

function greatestCommonDivisor(a: number, b: number): number {
  while (b > 0) [a, b] = [b, a % b];
  return a;
}
