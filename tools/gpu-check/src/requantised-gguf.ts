/**
 * A GGUF file again with the tensors of some types as Q8_0, which takes more bytes and loses least. For files that are to run where those types have
 * no kernels; the made file is a model of its own, a little off the first.
 */
import { assert, blockBytes, blockElements, type DType, encodeFloat16, memorySource, rowBytes } from "@flashwick/core";
import { encodeGgufHeader, type GgufTensor, readGgufHeader } from "@flashwick/flash-format";
import { decodeRow } from "@flashwick/kernels/reference";

const ALIGNMENT = 32;
const Q8_0_BLOCK = 32;

/** Sizes of what the files here hold. */
const DTYPES: Readonly<Record<string, DType>> = {
  ...{ F32: "f32", F16: "f16", BF16: "bf16" },
  ...{ Q4_0: "q4_0", Q4_1: "q4_1", Q5_0: "q5_0", Q5_1: "q5_1", Q8_0: "q8_0" },
  ...{ Q2_K: "q2_k", Q3_K: "q3_k", Q4_K: "q4_k", Q5_K: "q5_k", Q6_K: "q6_k" },
};

interface Placed {
  readonly tensor: GgufTensor;
  readonly bytes: Uint8Array;
}

/**
 * @param file  A GGUF of llama.cpp's, all of it.
 * @param types ggml's names of the types that become Q8_0.
 */
export async function requantiseGguf(
  file: Uint8Array<ArrayBuffer>,
  types: readonly string[],
): Promise<Uint8Array<ArrayBuffer>> {
  const header = await readGgufHeader(memorySource(file, "source.gguf"));
  const dataOffset = align(encodeGgufHeader(header).bytes.length);
  let offset = 0;
  const placed = header.tensors.map((tensor): Placed => {
    const stored = file.subarray(dataOffset + tensor.offset, dataOffset + tensor.offset + sizeOf(tensor));
    const changes = types.includes(String(tensor.type));
    const bytes = changes ? asQ8(tensor, stored) : stored;
    const moved = { ...tensor, type: changes ? ("Q8_0" as const) : tensor.type, offset };
    offset = align(offset + bytes.length);
    return { tensor: moved, bytes };
  });
  const { bytes } = encodeGgufHeader({ metadata: header.metadata, tensors: placed.map(({ tensor }) => tensor) });
  const out = new Uint8Array(align(bytes.length) + offset);
  out.set(bytes);
  for (const { tensor, bytes: data } of placed) out.set(data, align(bytes.length) + tensor.offset);
  return out;
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function dtypeOf({ name, type }: GgufTensor): DType {
  const dtype = DTYPES[String(type)];
  assert(dtype, `tensor ${name} has a type whose size is known, not ${type}`);
  return dtype;
}

function elementsOf({ shape }: GgufTensor): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** Blocks do not cross rows, so that the whole is as long as one row of all elements. */
function sizeOf(tensor: GgufTensor): number {
  return rowBytes(dtypeOf(tensor), elementsOf(tensor));
}

function asQ8(tensor: GgufTensor, stored: Uint8Array): Uint8Array {
  const values = new Float32Array(elementsOf(tensor));
  decodeRow(dtypeOf(tensor), stored, 0, values.length, values);
  assert(values.length % blockElements("q8_0") === 0, `${tensor.name} is whole blocks`);
  const out = new Uint8Array((values.length / Q8_0_BLOCK) * blockBytes("q8_0"));
  for (let k = 0; k < values.length; k += Q8_0_BLOCK) {
    encodeBlock(out.subarray((k / Q8_0_BLOCK) * blockBytes("q8_0")), values.subarray(k, k + Q8_0_BLOCK));
  }
  return out;
}

/** scale f16 = max|x| / 127, then 32 signed bytes: ggml's quantize_row_q8_0_ref. */
function encodeBlock(out: Uint8Array, values: Float32Array): void {
  const scale = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
  const bits = encodeFloat16(scale);
  out.set([bits & 255, bits >> 8]);
  for (const [i, value] of values.entries()) out[2 + i] = scale === 0 ? 0 : Math.round(value / scale);
}
