/**
 * A GGUF header as bytes. Little-endian, version 3; nothing of ours in it.
 *
 * Invariant: the length of the result depends on keys, types, string and array lengths alone, never on numbers. So a
 * header can be sized first with zeros for checksums and offsets, and written last.
 */
import { assert } from "@flashwick/core";
import {
  GGML_TYPES,
  GGUF_MAGIC,
  GGUF_NUMBER_ARRAYS,
  GGUF_VALUE_TYPES,
  GGUF_VERSION,
  type GgufArray,
  type GgufHeader,
  type GgufTensor,
  type GgufValue,
} from "./gguf.js";

/** The bytes of a header, and where things stand in them. */
export interface EncodedGgufHeader {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where each key's value starts (after its type code): for values that are patched in later, such as a checksum. */
  readonly valueOffsets: ReadonlyMap<string, number>;
}

/**
 * Encodes magic, version, counts, metadata and tensor table. No padding follows.
 * Cost: twice the header in memory while it grows.
 */
export function encodeGgufHeader(header: GgufHeader): EncodedGgufHeader {
  const out = new ByteWriter();
  const valueOffsets = new Map<string, number>();
  out.bytes(GGUF_MAGIC);
  out.u32(GGUF_VERSION);
  out.u64(header.tensors.length);
  out.u64(header.metadata.size);
  for (const [key, value] of header.metadata) {
    out.string(key);
    out.u32(GGUF_VALUE_TYPES[value.type]);
    valueOffsets.set(key, out.length);
    encodeValue(out, value);
  }
  for (const tensor of header.tensors) encodeTensor(out, tensor);
  return { bytes: out.finish(), valueOffsets };
}

function encodeTensor(out: ByteWriter, tensor: GgufTensor): void {
  out.string(tensor.name);
  out.u32(tensor.shape.length);
  for (const n of tensor.shape) out.u64(n);
  out.u32(typeof tensor.type === "number" ? tensor.type : GGML_TYPES[tensor.type]);
  out.u64(tensor.offset);
}

function encodeValue(out: ByteWriter, value: GgufValue): void {
  switch (value.type) {
    case "array":
      encodeArray(out, value);
      break;
    case "string":
      out.string(value.value);
      break;
    case "bool":
      out.bytes(Uint8Array.of(value.value ? 1 : 0));
      break;
    case "u64":
    case "i64":
      out.typed(GGUF_NUMBER_ARRAYS[value.type].of(value.value));
      break;
    default:
      out.typed(GGUF_NUMBER_ARRAYS[value.type].of(value.value));
  }
}

function encodeArray(out: ByteWriter, array: GgufArray): void {
  out.u32(GGUF_VALUE_TYPES[array.of]);
  out.u64(array.value.length);
  switch (array.of) {
    case "array":
      for (const inner of array.value) encodeArray(out, inner);
      break;
    case "string":
      for (const text of array.value) out.string(text);
      break;
    case "bool":
      out.bytes(Uint8Array.from(array.value, (flag) => (flag ? 1 : 0)));
      break;
    default:
      out.typed(array.value);
  }
}

/** Appends to a buffer that doubles. Typed arrays go in as the host has them: every JavaScript engine we run on is little-endian. */
class ByteWriter {
  #buffer = new Uint8Array(4096);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  bytes(bytes: Uint8Array): void {
    const end = this.#length + bytes.length;
    if (end > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = end;
  }

  typed(values: ArrayBufferView): void {
    this.bytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  u32(value: number): void {
    this.typed(Uint32Array.of(value));
  }

  u64(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `${value} does not fit an unsigned 64-bit field`);
    this.typed(BigUint64Array.of(BigInt(value)));
  }

  string(text: string): void {
    const utf8 = new TextEncoder().encode(text);
    this.u64(utf8.length);
    this.bytes(utf8);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#buffer.slice(0, this.#length);
  }
}
