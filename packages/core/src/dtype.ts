/**
 * Types of stored weights: plain elements, and the blocks of ggml. Activations are always f32.
 *
 * A row is a whole number of blocks, without gaps; a plain element is a block of one. What the bytes of a block mean is known to
 * `@flashwick/kernels` (reference/block-format.ts).
 */
import { assert } from "./assert.js";

/** Types of single elements. `int8`: symmetric, one f32 scale per row (see flash-format's SPEC.md). */
export type PlainDType = "f32" | "f16" | "bf16" | "int8";

/** Types of neuron records. `q4`: each part of a record, gate, up or down, is a row of Q4_0's blocks. */
export type RecordDType = PlainDType | "q4";

/** Types of the matrices that stay in DRAM, in our own files. */
export type ResidentDType = PlainDType | "q8_0" | "q4_0";

/** Blocks of 32 or 256 elements with scales of their own, as in GGUF files: `q4_k` is ggml's Q4_K. */
export type BlockDType =
  | "q4_0"
  | "q4_1"
  | "q5_0"
  | "q5_1"
  | "q8_0"
  | "q2_k"
  | "q3_k"
  | "q4_k"
  | "q5_k"
  | "q6_k"
  | "iq4_nl"
  | "iq4_xs"
  | "mxfp4";

/** Every type of elements that a file may hold. */
export type DType = RecordDType | BlockDType;

/**
 * What conversion may be asked for. Of single neurons the types of records, of experts those of rows: `q4` means Q4_0 there, `q8_0` is of experts alone
 * and `int8` of neurons.
 */
export type ConvertDType = RecordDType | "q8_0";

/** Elements and bytes of a block. */
const BLOCKS: Readonly<Record<DType, readonly [elements: number, bytes: number]>> = {
  f32: [1, 4],
  f16: [1, 2],
  bf16: [1, 2],
  int8: [1, 1],
  q4: [32, 18],
  q4_0: [32, 18],
  q4_1: [32, 20],
  q5_0: [32, 22],
  q5_1: [32, 24],
  q8_0: [32, 34],
  q2_k: [256, 84],
  q3_k: [256, 110],
  q4_k: [256, 144],
  q5_k: [256, 176],
  q6_k: [256, 210],
  iq4_nl: [32, 18],
  iq4_xs: [256, 136],
  mxfp4: [32, 17],
};

/** All of {@link DType}. */
export const DTYPES = Object.keys(BLOCKS) as readonly DType[];
/** Types that store element by element. */
export const PLAIN_DTYPES: readonly PlainDType[] = ["f32", "f16", "bf16", "int8"];
/** Types that neuron records may have. */
export const RECORD_DTYPES: readonly RecordDType[] = [...PLAIN_DTYPES, "q4"];
/** Types that a conversion may be asked for. */
export const CONVERT_DTYPES: readonly ConvertDType[] = [...RECORD_DTYPES, "q8_0"];
/** Types that resident matrices of our own files may have. */
export const RESIDENT_DTYPES: readonly ResidentDType[] = [...PLAIN_DTYPES, "q8_0", "q4_0"];
/** Types that store blocks of elements with a scale each, as ggml lays them out. */
export const BLOCK_DTYPES: readonly BlockDType[] = DTYPES.filter((dtype) => isBlockDType(dtype));

/**
 * Columns of an int8 matrix at most, on every backend: the WebAssembly kernels add products of a row in 32 bits a lane
 * (cols/4 · 127 · 4095 < 2^31). The widest published model of our families has 14848 (Falcon 180B).
 */
export const MAX_INT8_COLS = 16512;

/** Elements of a block; 1 for plain types. Rows are a multiple of it. */
export function blockElements(dtype: DType): number {
  return BLOCKS[dtype][0];
}

/** Bytes of a block, its scales included; of an element without scales for plain types. */
export function blockBytes(dtype: DType): number {
  return BLOCKS[dtype][1];
}

/** Bytes of a row of `cols` elements. int8: without its scale. `cols` is a multiple of {@link blockElements}: files are checked before. */
export function rowBytes(dtype: DType, cols: number): number {
  const [elements, bytes] = BLOCKS[dtype];
  assert(cols % elements === 0, `a row of ${cols} ${dtype} elements is no whole number of blocks of ${elements}`);
  return (cols / elements) * bytes;
}

/**
 * Of the matrices beside records of a type, where nothing else is said: the same, but Q8_0 beside q4. They are a third of a model or less, and in four bits
 * would lose as much again.
 */
export function defaultResidentDType(dtype: ConvertDType): ResidentDType {
  return dtype === "q4" ? "q8_0" : dtype;
}

/** Whether `value` is the name of a type of elements. */
export function isDType(value: unknown): value is DType {
  return typeof value === "string" && Object.hasOwn(BLOCKS, value);
}

/** Whether `value` is a type that neuron records may have. */
export function isRecordDType(value: unknown): value is RecordDType {
  return (RECORD_DTYPES as readonly unknown[]).includes(value);
}

/** `q4` is none: it is what records are made of, not a type of tensors. */
export function isBlockDType(value: unknown): value is BlockDType {
  return isDType(value) && value !== "q4" && blockElements(value) > 1;
}

/** Whether `value` is a type that stores element by element, not in blocks. */
export function isPlainDType(value: unknown): value is PlainDType {
  return (PLAIN_DTYPES as readonly unknown[]).includes(value);
}

/** The blocks that a row of this type consists of; null for plain elements. */
export function blocksOf(dtype: DType): BlockDType | null {
  if (dtype === "q4") return "q4_0";
  return isBlockDType(dtype) ? dtype : null;
}
