/** Test support: a GGUF file of llama.cpp's, of a small Llama whose matrices are all random blocks of one type. */
import { type BlockDType, blockBytes, Random, rowBytes } from "@flashwick/core";
import { encodeGgufHeader, type GgufTensor, type GgufValue } from "@flashwick/flash-format";

/** Rows are a whole number of blocks of any type. */
const D_MODEL = 256;
const D_FF = 512;
const LAYERS = 2;
const VOCAB = 96;
export const MADE_CONTEXT = 64;

const VECTORS = ["attn_norm", "ffn_norm"];
const MATRICES: readonly (readonly [string, number, number])[] = [
  ["attn_q", D_MODEL, D_MODEL],
  ["attn_k", D_MODEL, D_MODEL / 2],
  ["attn_v", D_MODEL, D_MODEL / 2],
  ["attn_output", D_MODEL, D_MODEL],
  ["ffn_gate", D_MODEL, D_FF],
  ["ffn_up", D_MODEL, D_FF],
  ["ffn_down", D_FF, D_MODEL],
];

/** The same bytes for the same type. */
export function madeLlama(dtype: BlockDType): Uint8Array {
  const type = dtype.toUpperCase() as GgufTensor["type"];
  const tensors: GgufTensor[] = [];
  let dataBytes = 0;
  const add = (name: string, shape: readonly number[]) => {
    tensors.push({ name: `${name}.weight`, shape, type: shape.length === 1 ? "F32" : type, offset: dataBytes });
    dataBytes += sizeOf(dtype, shape);
  };
  add("token_embd", [D_MODEL, VOCAB]);
  for (let layer = 0; layer < LAYERS; layer++) {
    for (const name of VECTORS) add(`blk.${layer}.${name}`, [D_MODEL]);
    for (const [name, cols, rows] of MATRICES) add(`blk.${layer}.${name}`, [cols, rows]);
  }
  add("output_norm", [D_MODEL]);
  const header = encodeGgufHeader({ metadata: metadata(), tensors }).bytes;
  const dataOffset = Math.ceil(header.length / 32) * 32;
  const file = new Uint8Array(dataOffset + dataBytes);
  file.set(header);
  const random = new Random(1);
  for (const { shape, offset } of tensors) {
    const bytes = file.subarray(dataOffset + offset, dataOffset + offset + sizeOf(dtype, shape));
    if (shape.length === 1) new Float32Array(bytes.buffer, bytes.byteOffset, D_MODEL).fill(1);
    else fillBlocks(bytes, dtype, random);
  }
  return file;
}

function metadata(): Map<string, GgufValue> {
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  return new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: "llama" }],
    ["llama.block_count", u32(LAYERS)],
    ["llama.context_length", u32(MADE_CONTEXT)],
    ["llama.embedding_length", u32(D_MODEL)],
    ["llama.feed_forward_length", u32(D_FF)],
    ["llama.attention.head_count", u32(4)],
    ["llama.attention.head_count_kv", u32(2)],
    ["llama.attention.layer_norm_rms_epsilon", { type: "f32", value: 1e-5 }],
  ]);
}

function sizeOf(dtype: BlockDType, [cols, rows]: readonly number[]): number {
  const bytes = rows === undefined ? 4 * cols! : rows * rowBytes(dtype, cols!);
  return Math.ceil(bytes / 32) * 32;
}

/** Any packed integers. Scales are halves of some hundredths, wherever a type has them; MXFP4's are powers of two near 2^-6. */
function fillBlocks(bytes: Uint8Array, dtype: BlockDType, random: Random): void {
  const isPowers = dtype === "mxfp4";
  for (let i = 0; i + 1 < bytes.length; i += 2) {
    bytes[i] = random.below(256);
    bytes[i + 1] = isPowers ? random.below(256) : (random.below(256) & 0x83) | 0x20;
  }
  if (isPowers) for (let at = 0; at < bytes.length; at += blockBytes(dtype)) bytes[at] = 119 + random.below(4);
}
