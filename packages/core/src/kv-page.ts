/**
 * Pages of keys and values: how a sequence's cache is cut, and what one layer has in a page.
 *
 * A page holds the keys and values of {@link KV_PAGE_TOKENS} neighbouring positions, one part for each layer. Position p of a sequence lies in page
 * `p >> 4` of its page table, at row `p & 15`. One part:
 *
 *   keys          [nKvHeads, 16, headDim]   f32, f16 or int8
 *   values        [nKvHeads, 16, headDim]
 *   key scales    [nKvHeads, 16]            f32, int8 only
 *   value scales  [nKvHeads, 16]            f32, int8 only
 */

/** Positions of a page. A power of two, so that a position is split by a shift and a mask. */
export const KV_PAGE_TOKENS = 16;

const ELEMENT_BYTES = { f32: 4, f16: 2, int8: 1 } as const;

/**
 * Bytes of one layer's part of a page.
 *
 * A multiple of 16 whatever `headDim` is, and so is the offset of each of the four arrays: each has {@link KV_PAGE_TOKENS} rows of whole bytes for each
 * head. Parts and pages that follow one another without gaps are therefore aligned like arena allocations.
 */
export function kvPartBytes(dtype: "f32" | "f16" | "int8", nKvHeads: number, headDim: number): number {
  const scaleBytes = dtype === "int8" ? 4 : 0;
  return 2 * nKvHeads * KV_PAGE_TOKENS * (headDim * ELEMENT_BYTES[dtype] + scaleBytes);
}
