/**
 * Where things stand inside a neuron's record, and how far apart records are. Pure arithmetic; SPEC.md, "Records".
 *
 *   bundled   [ gate row, of gated neurons | up row | down column | int8: a scale of each | zeros to the stride ]
 *   split     [ up row | zeros to the stride ]   [ down column | int8: up scale, down scale | zeros to the stride ]
 *
 * Rows are padded with zeros to 16 elements, so that kernels read whole groups; those of q4 are whole blocks of 32, with scales inside.
 */
import {
  blockElements,
  InputError,
  type ModelGeometry,
  paddedLength,
  type RecordDType,
  type RecordRole,
  rowBytes,
  UnsupportedError,
  type WeightLayout,
} from "@flashwick/core";

/** Strides are multiples of this: the finest unit of direct I/O. */
export const STRIDE_UNIT_BYTES = 512;
/** What flash and page caches read at once. */
export const PAGE_BYTES = 4096;
/** A scale is an f32. */
export const SCALE_BYTES = 4;

/** What of a geometry a record depends on. */
export interface RecordShape {
  readonly dModel: number;
  /** Whether a record has a gate row. */
  readonly gated: boolean;
}

/**
 * The records of a geometry.
 *
 * @param residentGate Gates lie in matrices that stay in DRAM, and not in records.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a model of which some layers are gated and others not.
 */
export function recordShape(
  { dModel, layers }: Pick<ModelGeometry, "dModel" | "layers">,
  residentGate = false,
): RecordShape {
  const [first] = layers;
  const gated = first?.ffn.gated ?? false;
  if (layers.every(({ ffn }) => ffn.gated === gated)) return { dModel, gated: gated && !residentGate };
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "some layers of this model have a gate and others none, which the records of a model file do not tell apart",
  );
}

/** What a record holds, in order. */
function rolesOf({ gated }: RecordShape): readonly RecordRole[] {
  return gated ? ["gate", "up", "down"] : ["up", "down"];
}

/**
 * How the weights of a model are laid out.
 *
 * @param stride `"auto"`: `autoStrideBytes`; else bytes, a multiple of 512 that holds a record (when split, each half).
 * @throws {InputError} `INPUT_INVALID` if `stride` is neither. {UnsupportedError} `UNSUPPORTED_FEATURE` for gated neurons in `split` layout, and for a width
 * that is no whole number of blocks.
 */
export function weightLayout(
  shape: RecordShape,
  dtype: RecordDType,
  layout: WeightLayout["layout"],
  stride: "auto" | number = "auto",
): WeightLayout {
  if (shape.gated && layout === "split") throw splitGate();
  if (shape.dModel % blockElements(dtype) !== 0) throw noWholeBlocks(shape, dtype);
  const vectorBytes = rowBytes(dtype, paddedLength(shape.dModel));
  const leastBytes = recordBytes(shape, dtype, layout);
  const strideBytes = stride === "auto" ? autoStrideBytes(leastBytes) : stride;
  checkStride(strideBytes, leastBytes);
  const roles = rolesOf(shape);
  const offsetOf = (index: number) => (layout === "split" ? index * strideBytes : index * vectorBytes);
  const scalesOffset = offsetOf(roles.length - 1) + vectorBytes;
  return {
    dtype,
    layout,
    strideBytes,
    parts: roles.map((role, i) => ({
      role,
      offsetBytes: offsetOf(i),
      scaleOffsetBytes: dtype === "int8" ? scalesOffset + i * SCALE_BYTES : null,
    })),
    slotBytes: layout === "bundled" ? strideBytes : 2 * strideBytes,
  };
}

function noWholeBlocks({ dModel }: RecordShape, dtype: RecordDType): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `records of ${dtype}: expected a width that is a multiple of ${blockElements(dtype)}, found ${dModel}; convert with --dtype int8 or f16`,
    { details: { dtype, dModel } },
  );
}

function splitGate(): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "layout split: expected records without a gate, found gated neurons; convert with layout bundled, or with resident gates",
  );
}

/** Bytes of a record before padding; in `split` layout, of its larger half. */
export function recordBytes(shape: RecordShape, dtype: RecordDType, layout: WeightLayout["layout"]): number {
  const vectorBytes = rowBytes(dtype, paddedLength(shape.dModel));
  const { length } = rolesOf(shape);
  return (layout === "bundled" ? length : 1) * vectorBytes + (dtype === "int8" ? length * SCALE_BYTES : 0);
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
