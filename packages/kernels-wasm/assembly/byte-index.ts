/**
 * The exports of the module with relaxed SIMD: products of rows of blocks with vectors of bytes, and what a probe needs. It works beside the other module, over the
 * same memory.
 */
import { BASE_BYTES } from "./byte-place";

export { isBlocks } from "./block-product";
export { dotAt, selectAt } from "./byte-dot";
export { linear } from "./linear";

/** Bytes at the bottom of the memory, the other module's among them. */
export function reservedBytes(): usize {
  return __heap_base;
}

/** Where this module's bytes begin. */
export function firstByte(): usize {
  return BASE_BYTES;
}
