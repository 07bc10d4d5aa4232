/** Stored weights as f32 values. */
import {
  assert,
  blockBytes,
  blockElements,
  blocksOf,
  type DType,
  decodeBfloat16,
  decodeFloat16,
} from "@flashwick/core";
import { Block } from "./block-format.js";

/**
 * Decodes the `cols` elements of the row at `bytes[offset]` into `out`. Every value is exact, but that of a block with a minimum is rounded
 * once. int8 gives the bare integers, before their scale.
 *
 * @param cols A multiple of `blockElements(dtype)`.
 */
export function decodeRow(dtype: DType, bytes: Uint8Array, offset: number, cols: number, out: Float32Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset);
  switch (dtype) {
    case "f32":
      for (let k = 0; k < cols; k++) out[k] = view.getFloat32(4 * k, true);
      return;
    case "f16":
      for (let k = 0; k < cols; k++) out[k] = decodeFloat16(view.getUint16(2 * k, true));
      return;
    case "bf16":
      for (let k = 0; k < cols; k++) out[k] = decodeBfloat16(view.getUint16(2 * k, true));
      return;
    case "int8":
      for (let k = 0; k < cols; k++) out[k] = view.getInt8(k);
      return;
    default: {
      const block = new Block();
      const blocks = blocksOf(dtype);
      assert(blocks !== null, `${dtype} is a type`);
      const [elements, sizeBytes] = [blockElements(dtype), blockBytes(dtype)];
      for (let k = 0, at = offset; k < cols; k += elements, at += sizeBytes) {
        block.read(blocks, bytes, at);
        for (let i = 0; i < elements; i++) out[k + i] = block.value(i);
      }
    }
  }
}
