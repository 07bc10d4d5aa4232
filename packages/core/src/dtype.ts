/** Element types of stored weights. Activations are always f32. */

/** `int8`: symmetric, one f32 scale per row (see flash-format's SPEC.md). */
export type DType = "f32" | "f16" | "bf16" | "int8";

export const DTYPES: readonly DType[] = ["f32", "f16", "bf16", "int8"];

const BYTES: Readonly<Record<DType, number>> = { f32: 4, f16: 2, bf16: 2, int8: 1 };

/**
 * Columns of an int8 matrix at most, on every backend: the WebAssembly kernels add products of a row in 32 bits a lane
 * (cols/4 · 127 · 4095 < 2^31). The widest published model of our families has 14848 (Falcon 180B).
 */
export const MAX_INT8_COLS = 16512;

/** Bytes of one stored element, without scales. */
export function bytesPerElement(dtype: DType): number {
  return BYTES[dtype];
}

export function isDType(value: unknown): value is DType {
  return typeof value === "string" && (DTYPES as readonly string[]).includes(value);
}
