/** Element types of stored weights. Activations are always f32. */

/** `int8`: symmetric, one f32 scale per row (see flash-format's SPEC.md). */
export type DType = "f32" | "f16" | "bf16" | "int8";

export const DTYPES: readonly DType[] = ["f32", "f16", "bf16", "int8"];

const BYTES: Readonly<Record<DType, number>> = { f32: 4, f16: 2, bf16: 2, int8: 1 };

/** Bytes of one stored element, without scales. */
export function bytesPerElement(dtype: DType): number {
  return BYTES[dtype];
}

export function isDType(value: unknown): value is DType {
  return typeof value === "string" && (DTYPES as readonly string[]).includes(value);
}
