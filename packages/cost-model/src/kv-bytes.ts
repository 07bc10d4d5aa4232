import type { ModelGeometry } from "@flashwick/core";

/** Stored precision of keys and values. int8 has one f32 scale per (head, token). */
export type KvPrecision = "f32" | "f16" | "int8";

/**
 * Bytes of the key/value cache.
 *
 * 2 · nLayers · nKvHeads · contextTokens · (headDim · bytes + scale)
 */
export function kvCacheBytes(
  geometry: Pick<ModelGeometry, "nLayers" | "nKvHeads" | "headDim">,
  precision: KvPrecision,
  contextTokens: number,
): number {
  const perHead =
    precision === "int8" ? geometry.headDim + 4 : precision === "f16" ? 2 * geometry.headDim : 4 * geometry.headDim;
  return 2 * geometry.nLayers * geometry.nKvHeads * contextTokens * perHead;
}
