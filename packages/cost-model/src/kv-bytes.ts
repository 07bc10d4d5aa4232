import { type AttentionGeometry, KV_PAGE_TOKENS, kvPartBytes } from "@flashwick/core";

/** Stored precision of keys and values. int8 has one f32 scale per (head, token). */
export type KvPrecision = "f32" | "f16" | "int8";

/** Bytes of an entry of a page table: an address in an arena. */
const TABLE_ENTRY_BYTES = 4;

/**
 * Bytes of one sequence's keys and values: whole pages, with the parts of all layers, and the table of the pages.
 *
 * ⌈contextTokens / 16⌉ · (Σ over layers of kvPartBytes + 4)
 */
export function kvCacheBytes(
  geometry: { readonly layers: readonly { readonly attention: Pick<AttentionGeometry, "nKvHeads" | "headDim"> }[] },
  precision: KvPrecision,
  contextTokens: number,
): number {
  const pageBytes = geometry.layers.reduce(
    (sum, { attention }) => sum + kvPartBytes(precision, attention.nKvHeads, attention.headDim),
    0,
  );
  return kvPageCount(contextTokens) * pageBytes + kvTableBytes(contextTokens);
}

/** Pages that hold `contextTokens` positions. */
export function kvPageCount(contextTokens: number): number {
  return Math.ceil(contextTokens / KV_PAGE_TOKENS);
}

/** Bytes of a sequence's page table. Layers of one arena share it; each arena has its own. */
export function kvTableBytes(contextTokens: number): number {
  return TABLE_ENTRY_BYTES * kvPageCount(contextTokens);
}
