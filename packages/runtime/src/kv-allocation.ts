/** Room for the keys and values of one sequence: the layers of one arena share its pages and its page table. */
import { kvPartBytes, type ModelGeometry } from "@flashwick/core";
import { type KvPrecision, kvPageCount, kvTableBytes } from "@flashwick/cost-model";
import type { Kernels, KvCache } from "@flashwick/kernels";

/**
 * Allocates pages that follow one another, and their table, and brings the table to where the kernels look it up.
 *
 * @param layerCount Layers that lie in the kernels' arena; each page has a part for each of them, in order.
 * @returns The cache of each of these layers.
 * Cost: `kvPageCount · layerCount · kvPartBytes + kvTableBytes` of the arena, and what aligning them to 16 bytes takes.
 */
export function allocateKvCaches(
  kernels: Kernels,
  layerCount: number,
  { nKvHeads, headDim }: Pick<ModelGeometry, "nKvHeads" | "headDim">,
  dtype: KvPrecision,
  contextTokens: number,
): KvCache[] {
  const { arena } = kernels;
  const partBytes = kvPartBytes(dtype, nKvHeads, headDim);
  const pageCount = kvPageCount(contextTokens);
  const pageBytes = layerCount * partBytes;
  const first = arena.allocate(pageCount * pageBytes);
  const tableBytes = kvTableBytes(contextTokens);
  const pages = arena.allocate(tableBytes);
  const table = Uint32Array.from({ length: pageCount }, (_, i) => first + i * pageBytes);
  arena.u32(pages, pageCount).set(table);
  kernels.put(pages, tableBytes);
  return Array.from({ length: layerCount }, (_, i) => {
    return { dtype, pages, offsetBytes: i * partBytes, nKvHeads, headDim };
  });
}
