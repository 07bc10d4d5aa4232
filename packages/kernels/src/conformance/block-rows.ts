/** Rows of random blocks, with sensible scales, and what they stand for in double precision. */
import { type BlockDType, blockBytes, blockElements, encodeFloat16 } from "@flashwick/core";
import { Block } from "../reference/block-format.js";
import type { RandomNumbers } from "./random.js";

/** Where a block has its f16 scales. */
const HALVES: Readonly<Record<BlockDType, readonly number[]>> = {
  q4_0: [0],
  q4_1: [0, 2],
  q5_0: [0],
  q5_1: [0, 2],
  q8_0: [0],
  q2_k: [80, 82],
  q3_k: [108],
  q4_k: [0, 2],
  q5_k: [0, 2],
  q6_k: [208],
  iq4_nl: [0],
  iq4_xs: [0],
  mxfp4: [],
};

export interface StoredBlocks {
  readonly values: Float64Array;
  /** |D·w| + |N·m|. */
  readonly magnitudes: Float64Array;
}

/**
 * Fills `bytes` with blocks. Every bit pattern of the packed integers occurs.
 *
 * @param largest The largest integers that the type has, all of one sign, instead of random ones.
 */
export function storeBlocks(
  random: RandomNumbers,
  dtype: BlockDType,
  bytes: Uint8Array,
  largest: boolean,
): StoredBlocks {
  const [sizeBytes, elements] = [blockBytes(dtype), blockElements(dtype)];
  const cols = (bytes.length / sizeBytes) * elements;
  const stored = { values: new Float64Array(cols), magnitudes: new Float64Array(cols) };
  const block = new Block();
  for (let k = 0, at = 0; k < cols; k += elements, at += sizeBytes) {
    for (let i = 0; i < sizeBytes; i++) bytes[at + i] = random.below(256);
    if (largest) storeLargest(dtype, bytes.subarray(at, at + sizeBytes));
    storeScales(random, dtype, bytes, at);
    block.read(dtype, bytes, at);
    for (let i = 0; i < elements; i++) {
      const [weight, minimum] = [block.scale * block.weights[i]!, block.minScale * block.minima[i >> 4]!];
      stored.values[k + i] = weight - minimum;
      stored.magnitudes[k + i] = Math.abs(weight) + Math.abs(minimum);
    }
  }
  return stored;
}

/** Of either sign; some subnormal as f16, some zero. */
function storeScales(random: RandomNumbers, dtype: BlockDType, bytes: Uint8Array, at: number): void {
  for (const offset of HALVES[dtype]) {
    const size = [1, 2 ** -6, 2 ** -16, 0][random.below(4)]!;
    const bits = encodeFloat16(random.signed() * size);
    bytes.set([bits & 255, bits >> 8], at + offset);
  }
  if (dtype === "mxfp4") bytes[at] = random.below(8) === 0 ? random.below(2) : 112 + random.below(20);
}

/** Zeros are the most negative integers of signed types; Q6_K and Q8_0 have signed bytes besides. Types with minima: all ones. */
function storeLargest(dtype: BlockDType, block: Uint8Array): void {
  if (dtype === "q6_k") block.fill(0).fill(0x80, 192, 208);
  else if (dtype === "q8_0") block.fill(0x80);
  else block.fill(HALVES[dtype].length === 2 ? 0xff : 0);
}
