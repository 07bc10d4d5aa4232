/**
 * MXFP4 as Hugging Face checkpoints of gpt-oss hold it: blocks of 32 elements of a row, whose 16 bytes and scale stand in two tensors.
 *
 *     byte i   element 2i in the low nibble, 2i + 1 in the high one
 *     value    E2M1(nibble) · 2^(scale − 127)
 *
 * ggml's blocks are the same numbers in another order: scale first, element i in the low nibble of byte i, 16 + i in the high one.
 * Source: transformers 4.57, integrations/mxfp4.py, convert_moe_packed_tensors.
 */
import { assert, blockBytes, blockElements } from "@flashwick/core";

const ELEMENTS = blockElements("mxfp4");
const PAIRS = ELEMENTS / 2;
const BYTES = blockBytes("mxfp4");

/**
 * @param blocks `[n, 16]`.
 * @param scales `[n]`.
 * @param out    `[n, 17]`, ggml's blocks, overwritten.
 */
export function ggmlBlocks(blocks: Uint8Array, scales: Uint8Array, out: Uint8Array): void {
  const { length } = scales;
  assert(blocks.length === length * PAIRS && out.length === length * BYTES, "as many blocks in as out");
  for (let block = 0; block < length; block++) {
    const [from, to] = [block * PAIRS, block * BYTES];
    out[to] = scales[block]!;
    for (let i = 0; i < PAIRS; i++) {
      out[to + 1 + i] = nibble(blocks, from, i) | (nibble(blocks, from, PAIRS + i) << 4);
    }
  }
}

/** Of element i of the block whose bytes begin at `from`. */
function nibble(blocks: Uint8Array, from: number, i: number): number {
  return (blocks[from + (i >> 1)]! >> (i % 2 === 0 ? 0 : 4)) & 15;
}
