/** Which types of weights, keys and values the shaders read, and by which shader. */
import { type DType, PLAIN_DTYPES, UnsupportedError } from "@flashwick/core";
import { dtypeCode, type KvDType } from "@flashwick/kernels";

/** Of ggml's blocks, those that have shaders. */
export const DEVICE_BLOCK_DTYPES = ["q4_0", "q8_0", "q4_k", "q6_k"] as const;

export type DeviceBlockDType = (typeof DEVICE_BLOCK_DTYPES)[number];

/** Every type of a matrix that shaders read. */
export const DEVICE_DTYPES: readonly DType[] = [...PLAIN_DTYPES, ...DEVICE_BLOCK_DTYPES];

const KV_DTYPES: readonly KvDType[] = ["f32", "f16", "int8"];

/**
 * Asks for the types of a model's tensors, before anything is loaded.
 *
 * @param what What has the type, for the message.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE`: names the type, and lists what shaders read.
 */
export function requireDeviceDType(dtype: DType, what = "weights"): void {
  expectOneOf(dtype, what, DEVICE_DTYPES);
}

/** The same of a model's records: plain types only. @throws {UnsupportedError} naming the type. */
export function requireDeviceRecords(dtype: DType): void {
  expectOneOf(dtype, "records of neurons", PLAIN_DTYPES);
}

/** Whether a matrix is one of blocks that have shaders of their own. */
export function isDeviceBlockDType(dtype: DType): dtype is DeviceBlockDType {
  return (DEVICE_BLOCK_DTYPES as readonly DType[]).includes(dtype);
}

/**
 * The shader of `linear` or `gatherRow` for a type, and its number there.
 *
 * @throws {UnsupportedError} for a type that has none, known elsewhere or nowhere.
 */
export function matrixShader<Op extends "linear" | "gatherRow">(
  op: Op,
  dtype: DType,
): { readonly shader: Op | `${Op}-${DeviceBlockDType}`; readonly code: number } {
  requireDeviceDType(dtype);
  return { shader: isDeviceBlockDType(dtype) ? `${op}-${dtype}` : op, code: dtypeCode(dtype) };
}

/** The number of a type of records. @throws {UnsupportedError} for one that records cannot have. */
export function recordCode(dtype: DType): number {
  requireDeviceRecords(dtype);
  return dtypeCode(dtype);
}

/** The number of a type of keys and values. @throws {UnsupportedError} for one that they cannot have. */
export function kvCode(dtype: KvDType): number {
  expectOneOf(dtype, "keys and values", KV_DTYPES);
  return dtypeCode(dtype);
}

function expectOneOf(dtype: DType, what: string, known: readonly DType[]): void {
  if (known.includes(dtype)) return;
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `WebGPU: ${what} of type ${dtype}, expected one of ${known.join(", ")}; compute on WebAssembly (--backend wasm)`,
    { details: { dtype, known } },
  );
}
