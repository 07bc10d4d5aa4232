/**
 * Bytes as a GGUF header. Little-endian, version 3; nothing of ours in it.
 *
 * Invariants: no read goes past the given bytes; what is allocated stays within a small multiple of them, and the limits of
 * gguf.ts, whatever the counts say; every failure is a {@link FormatError}, or {@link HeaderCutShort} if more bytes could help.
 */
import { FormatError } from "@flashwick/core";
import {
  GGML_TYPES,
  GGUF_MAGIC,
  GGUF_MAX_DIMENSIONS,
  GGUF_NUMBER_ARRAYS,
  GGUF_VALUE_TYPES,
  GGUF_VERSION,
  type GgmlType,
  type GgufArray,
  type GgufHeader,
  type GgufNumberType,
  type GgufTensor,
  type GgufValue,
  type GgufValueType,
  MAX_ARRAY_DEPTH,
  MAX_ARRAY_LENGTH,
  MAX_KEY_BYTES,
  MAX_KV_COUNT,
  MAX_NESTED_ARRAYS,
  MAX_STRING_BYTES,
  MAX_TENSOR_COUNT,
  MAX_TENSOR_NAME_BYTES,
} from "./gguf.js";

export interface DecodedGgufHeader extends GgufHeader {
  /** Bytes from the file's start to the end of the tensor table, before padding. */
  readonly headerBytes: number;
  /** Where each key's value starts (after its type code). */
  readonly valueOffsets: ReadonlyMap<string, number>;
}

/** The bytes given end inside the header: give more, or the file is truncated. */
export class HeaderCutShort extends Error {
  /** Bytes that are needed at least to get any further. */
  readonly neededBytes: number;
  constructor(neededBytes: number) {
    super(`the header needs at least ${neededBytes} bytes`);
    this.neededBytes = neededBytes;
  }
}

const TYPE_OF_CODE = new Map<number, GgufValueType>(
  Object.entries(GGUF_VALUE_TYPES).map(([name, code]) => [code, name as GgufValueType]),
);
const GGML_TYPE_OF_CODE = new Map<number, GgmlType>(
  Object.entries(GGML_TYPES).map(([name, code]) => [code, name as GgmlType]),
);

/** Least bytes that one array element can take: what a length is held against before allocating. */
const LEAST_BYTES: Readonly<Record<GgufValueType, number>> = {
  u8: 1,
  i8: 1,
  bool: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  u64: 8,
  i64: 8,
  f64: 8,
  string: 8,
  array: 12,
};

/**
 * Decodes a header from the first bytes of a file.
 *
 * @param bytes The file's beginning, as much of it as is at hand.
 * @param name  Of the file, for messages.
 * @throws {FormatError} `FORMAT_NOT_GGUF`, `FORMAT_VERSION`, `FORMAT_LIMIT`, `FORMAT_INVALID`. {HeaderCutShort} if `bytes` ends first.
 */
export function decodeGgufHeader(bytes: Uint8Array, name: string): DecodedGgufHeader {
  const input = new ByteReader(bytes, name);
  decodePreamble(input, bytes);
  const tensorCount = input.count(MAX_TENSOR_COUNT, "tensor count");
  const kvCount = input.count(MAX_KV_COUNT, "metadata count");
  const metadata = new Map<string, GgufValue>();
  const valueOffsets = new Map<string, number>();
  for (let i = 0; i < kvCount; i++) {
    const start = input.offset;
    const key = input.string(MAX_KEY_BYTES, "metadata key");
    if (metadata.has(key)) throw input.invalid(start, `metadata key "${key}" stands twice`);
    const type = input.valueType();
    valueOffsets.set(key, input.offset);
    metadata.set(key, decodeValue(input, type, key));
  }
  const tensors = decodeTensors(input, tensorCount);
  return { metadata, tensors, headerBytes: input.offset, valueOffsets };
}

function decodePreamble(input: ByteReader, bytes: Uint8Array): void {
  for (let i = 0; i < GGUF_MAGIC.length && i < bytes.length; i++) {
    if (bytes[i] === GGUF_MAGIC[i]) continue;
    const found = Array.from(bytes.subarray(0, 4), (b) => b.toString(16).padStart(2, "0")).join(" ");
    throw new FormatError(
      "FORMAT_NOT_GGUF",
      `${input.name} @ 0: expected the magic "GGUF" (47 47 55 46), found ${found}; this is not a model file, make one with "flashwick convert"`,
    );
  }
  input.skip(GGUF_MAGIC.length);
  const version = input.u32();
  if (version === GGUF_VERSION) return;
  // Big-endian files carry the same magic; their version reads as 3 << 24.
  const what = version === GGUF_VERSION << 24 ? "a big-endian file" : `version ${version}`;
  throw new FormatError(
    "FORMAT_VERSION",
    `${input.name} @ 4: expected GGUF version 3, little-endian, found ${what}; convert the checkpoint again`,
    { details: { version } },
  );
}

function decodeTensors(input: ByteReader, count: number): GgufTensor[] {
  const tensors: GgufTensor[] = [];
  const names = new Set<string>();
  for (let i = 0; i < count; i++) {
    const start = input.offset;
    const name = input.string(MAX_TENSOR_NAME_BYTES, "tensor name");
    if (names.has(name)) throw input.invalid(start, `tensor "${name}" stands twice`);
    names.add(name);
    tensors.push(decodeTensor(input, name));
  }
  return tensors;
}

function decodeTensor(input: ByteReader, name: string): GgufTensor {
  const start = input.offset;
  const dimensions = input.u32();
  if (dimensions > GGUF_MAX_DIMENSIONS) {
    throw input.limit(start, `tensor "${name}": dimensions`, GGUF_MAX_DIMENSIONS, dimensions);
  }
  const shape: number[] = [];
  let elements = 1;
  for (let d = 0; d < dimensions; d++) {
    shape.push(input.safeInteger(`tensor "${name}": dimension ${d}`));
    elements *= shape[d]!;
  }
  // 2^49 elements of 8 bytes are still a safe integer of bytes.
  if (elements > 2 ** 49) throw input.limit(start, `tensor "${name}": elements`, 2 ** 49, elements);
  const code = input.u32();
  const offset = input.safeInteger(`tensor "${name}": offset`);
  return { name, shape, type: GGML_TYPE_OF_CODE.get(code) ?? code, offset };
}

function decodeValue(input: ByteReader, type: GgufValueType, key: string): GgufValue {
  switch (type) {
    case "array":
      return decodeArray(input, key, 1);
    case "string":
      return { type, value: input.string(MAX_STRING_BYTES, `"${key}"`) };
    case "bool":
      return { type, value: input.bool(key) };
    default:
      return decodeNumber(input, type);
  }
}

function decodeNumber(input: ByteReader, type: GgufNumberType): GgufValue {
  const array = input.numbers(type, 1);
  return { type, value: array.value[0]! } as GgufValue;
}

function decodeArray(input: ByteReader, key: string, depth: number): GgufArray {
  const start = input.offset;
  if (depth > MAX_ARRAY_DEPTH) throw input.limit(start, `"${key}": arrays within arrays`, MAX_ARRAY_DEPTH, depth);
  const of = input.valueType();
  const length = input.count(MAX_ARRAY_LENGTH, `"${key}": array length`);
  input.require(length * LEAST_BYTES[of]);
  input.countValues(start, of, length, `"${key}"`);
  switch (of) {
    case "array": {
      const value: GgufArray[] = [];
      for (let i = 0; i < length; i++) value.push(decodeArray(input, key, depth + 1));
      return { type: "array", of, value };
    }
    case "string": {
      const value: string[] = [];
      for (let i = 0; i < length; i++) value.push(input.string(MAX_STRING_BYTES, `"${key}"[${i}]`));
      return { type: "array", of, value };
    }
    case "bool": {
      const value: boolean[] = [];
      for (let i = 0; i < length; i++) value.push(input.bool(key));
      return { type: "array", of, value };
    }
    default:
      return input.numbers(of, length);
  }
}

type NumberArray = Extract<GgufArray, { readonly of: GgufNumberType }>;

/** A cursor over bytes that never reads past their end. */
class ByteReader {
  readonly name: string;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;
  /** Elements of arrays so far that are, or will be, values of their own in memory. */
  #nestedArrays = 0;
  #boxedValues = 0;
  // Byte order marks are content here; malformed UTF-8 is an error, not a replacement character.
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.name = name;
  }

  get offset(): number {
    return this.#offset;
  }

  require(sizeBytes: number): void {
    if (this.#offset + sizeBytes > this.#bytes.length) throw new HeaderCutShort(this.#offset + sizeBytes);
  }

  skip(sizeBytes: number): void {
    this.require(sizeBytes);
    this.#offset += sizeBytes;
  }

  u32(): number {
    this.require(4);
    const value = this.#view.getUint32(this.#offset, true);
    this.#offset += 4;
    return value;
  }

  u64(): bigint {
    this.require(8);
    const value = this.#view.getBigUint64(this.#offset, true);
    this.#offset += 8;
    return value;
  }

  count(limit: number, what: string): number {
    const start = this.#offset;
    const value = this.u64();
    if (value > BigInt(limit)) throw this.limit(start, what, limit, value);
    return Number(value);
  }

  safeInteger(what: string): number {
    return this.count(Number.MAX_SAFE_INTEGER, what);
  }

  string(limit: number, what: string): string {
    const length = this.count(limit, `${what}: bytes`);
    this.require(length);
    const start = this.#offset;
    this.#offset += length;
    try {
      return this.#utf8.decode(this.#bytes.subarray(start, start + length));
    } catch {
      throw this.invalid(start, `${what} is not valid UTF-8`);
    }
  }

  bool(key: string): boolean {
    this.require(1);
    const value = this.#bytes[this.#offset]!;
    if (value > 1) throw this.invalid(this.#offset, `"${key}": a boolean is 0 or 1, found ${value}`);
    this.#offset++;
    return value === 1;
  }

  valueType(): GgufValueType {
    const start = this.#offset;
    const code = this.u32();
    const type = TYPE_OF_CODE.get(code);
    if (type === undefined) throw this.invalid(start, `metadata value types are 0 to 12, found ${code}`);
    return type;
  }

  /** Holds what an array is about to take in memory against the limits of the whole header. */
  countValues(start: number, of: GgufValueType, length: number, what: string): void {
    if (of === "array") this.#nestedArrays += length;
    else if (of === "string" || of === "bool") this.#boxedValues += length;
    if (this.#nestedArrays > MAX_NESTED_ARRAYS) {
      throw this.limit(start, `${what}: arrays within arrays in this header`, MAX_NESTED_ARRAYS, this.#nestedArrays);
    }
    if (this.#boxedValues > MAX_ARRAY_LENGTH) {
      throw this.limit(
        start,
        `${what}: strings and booleans in arrays of this header`,
        MAX_ARRAY_LENGTH,
        this.#boxedValues,
      );
    }
  }

  numbers(of: NumberArray["of"], length: number): NumberArray {
    const sizeBytes = length * LEAST_BYTES[of];
    this.require(sizeBytes);
    // A copy, since values stand unaligned in the file.
    const copy = new Uint8Array(sizeBytes);
    copy.set(this.#bytes.subarray(this.#offset, this.#offset + sizeBytes));
    this.#offset += sizeBytes;
    return { type: "array", of, value: new GGUF_NUMBER_ARRAYS[of](copy.buffer) } as NumberArray;
  }

  limit(offset: number, what: string, limit: number, found: number | bigint): FormatError {
    return new FormatError(
      "FORMAT_LIMIT",
      `${this.name} @ ${offset}: ${what}: expected at most ${limit}, found ${found}; the file is damaged or hostile, convert or fetch it again`,
      { details: { offset, limit, found: String(found) } },
    );
  }

  invalid(offset: number, what: string): FormatError {
    return new FormatError(
      "FORMAT_INVALID",
      `${this.name} @ ${offset}: ${what}; the file is damaged, convert or fetch it again`,
      { details: { offset } },
    );
  }
}
