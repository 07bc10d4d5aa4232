/**
 * The vocabulary of GGUF version 3, little-endian: types, and the limits within which we read it.
 * Specification: github.com/ggml-org/ggml, docs/gguf.md.
 *
 * Every limit is far above what real models have, and far below what hurts: a count from a file is held against its
 * limit, and against the bytes that are really there, before anything is allocated for it.
 */
import { blockBytes, blockElements, type DType } from "@flashwick/core";

/** "GGUF" as the file's first four bytes. */
export const GGUF_MAGIC = Uint8Array.of(0x47, 0x47, 0x55, 0x46);
export const GGUF_VERSION = 3;
/** `general.alignment` where a file has none. */
export const GGUF_DEFAULT_ALIGNMENT = 32;
/** ggml has at most four dimensions. */
export const GGUF_MAX_DIMENSIONS = 4;

/** Metadata pairs; real files have tens. */
export const MAX_KV_COUNT = 65536;
/** Tensors; a thousand layers of 30 would be 30 thousand. */
export const MAX_TENSOR_COUNT = 131072;
/** GGUF's own limit for keys. */
export const MAX_KEY_BYTES = 65535;
/** ggml's limit is 64; some writers exceed it. */
export const MAX_TENSOR_NAME_BYTES = 256;
/** One string value; the largest tokenizer.json documents are some 30 MB. */
export const MAX_STRING_BYTES = 64 * 1024 * 1024;
/**
 * Elements of one array, and strings and booleans of all arrays together, which become a JavaScript value each; the largest
 * vocabularies have 256 thousand, with twice as many merges.
 */
export const MAX_ARRAY_LENGTH = 16 * 1024 * 1024;
/** Arrays that are elements of arrays, in the whole header: 12 bytes in a file may become 500 in memory. Real files have none. */
export const MAX_NESTED_ARRAYS = 65536;
/** Arrays within arrays. */
export const MAX_ARRAY_DEPTH = 4;
/** Everything before the tensor data. */
export const MAX_HEADER_BYTES = 256 * 1024 * 1024;

/** Codes of metadata value types (`gguf_metadata_value_type`). */
export const GGUF_VALUE_TYPES = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

export type GgufValueType = keyof typeof GGUF_VALUE_TYPES;

/** A metadata value with its stored type; 64-bit integers are bigint, so that nothing is lost. */
export type GgufValue =
  | { readonly type: "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64"; readonly value: number }
  | { readonly type: "u64" | "i64"; readonly value: bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | GgufArray;

/** What the elements of an array are kept in: numbers in the typed array of their type. */
export interface GgufArrayValues {
  readonly u8: Uint8Array;
  readonly i8: Int8Array;
  readonly u16: Uint16Array;
  readonly i16: Int16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;
  readonly u64: BigUint64Array;
  readonly i64: BigInt64Array;
  readonly bool: readonly boolean[];
  readonly string: readonly string[];
  readonly array: readonly GgufArray[];
}

/** The typed array of each number type. */
export const GGUF_NUMBER_ARRAYS = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
} as const;

export type GgufNumberType = keyof typeof GGUF_NUMBER_ARRAYS;

/** An array; its elements stand without their tag. */
export type GgufArray = {
  readonly [Of in GgufValueType]: { readonly type: "array"; readonly of: Of; readonly value: GgufArrayValues[Of] };
}[GgufValueType];

/** Codes of the tensor types that we know the size of (`ggml_type`). */
export const GGML_TYPES = {
  ...{ F32: 0, F16: 1, I8: 24, I16: 25, I32: 26, I64: 27, F64: 28, BF16: 30 },
  ...{ Q4_0: 2, Q4_1: 3, Q5_0: 6, Q5_1: 7, Q8_0: 8 },
  ...{ Q2_K: 10, Q3_K: 11, Q4_K: 12, Q5_K: 13, Q6_K: 14 },
  ...{ IQ4_NL: 20, IQ4_XS: 23, MXFP4: 39 },
} as const;

export type GgmlType = keyof typeof GGML_TYPES;

/** Types whose values are ours to multiply with, as the kernels call them. */
export const DTYPE_OF_GGML_TYPE: Readonly<Partial<Record<GgmlType, DType>>> = {
  ...{ F32: "f32", F16: "f16", BF16: "bf16" },
  ...{ Q4_0: "q4_0", Q4_1: "q4_1", Q5_0: "q5_0", Q5_1: "q5_1", Q8_0: "q8_0" },
  ...{ Q2_K: "q2_k", Q3_K: "q3_k", Q4_K: "q4_k", Q5_K: "q5_k", Q6_K: "q6_k" },
  ...{ IQ4_NL: "iq4_nl", IQ4_XS: "iq4_xs", MXFP4: "mxfp4" },
};

const INTEGER_BYTES: Readonly<Partial<Record<GgmlType, number>>> = { I8: 1, I16: 2, I32: 4, I64: 8, F64: 8 };

/** One entry of the tensor table. */
export interface GgufTensor {
  readonly name: string;
  /** Dimensions, innermost first: a matrix of `rows` by `cols` is `[cols, rows]`. */
  readonly shape: readonly number[];
  /** The name of a type we know, else the bare code. */
  readonly type: GgmlType | number;
  /** From the start of the data section; a multiple of the alignment. */
  readonly offset: number;
}

/** Everything before the data. */
export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
}

/** Bytes of a tensor; null for a type whose size we do not know, or rows that are no whole number of its blocks. */
export function ggufTensorBytes({ type, shape }: GgufTensor): number | null {
  if (typeof type === "number") return null;
  const dtype = DTYPE_OF_GGML_TYPE[type];
  const [elements, bytes] = dtype ? [blockElements(dtype), blockBytes(dtype)] : [1, INTEGER_BYTES[type]!];
  if ((shape[0] ?? 1) % elements !== 0) return null;
  return (shape.reduce((product, n) => product * n, 1) / elements) * bytes;
}
