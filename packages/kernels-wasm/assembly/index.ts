/** The module's exports; src/wasm-module.ts declares their types for TypeScript. */
import { fillTables } from "./crc32c";

export { gate } from "./activation";
export { attention } from "./attention";
export { crc32c, crc32cSlots } from "./crc32c";
export { add, addScaled, relu, scale, selectAbove, zero } from "./elementwise";
export { ffnDown } from "./ffn-down";
export { ffnUp, ffnUpGated } from "./ffn-up";
export { decodeF16, encodeF16 } from "./float16";
export { gemm, gemmTransposed } from "./gemm";
export { storeKv } from "./kv-cache";
export { gatherRow, linear } from "./linear";
export { layerNorm, normHeads, rmsNorm } from "./norm";
export { readLoop } from "./read-loop";
export { rotate } from "./rotary";
export { addRowsScaled, copyRows } from "./rows";
export { adamW, crossEntropyGradient, reluGradient } from "./training";

/** Bytes at the bottom of the memory that this module uses. */
export function reservedBytes(): usize {
  return __heap_base;
}

fillTables();
