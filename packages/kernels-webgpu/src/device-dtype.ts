/** Which types of weights the shaders read. */
import { type DType, isRecordDType, RECORD_DTYPES, type RecordDType, UnsupportedError } from "@flashwick/core";

/**
 * Asks for the types of a model's tensors, before anything is loaded.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` naming the type: ggml's blocks, for now.
 */
export function requireDeviceDType(dtype: DType): asserts dtype is RecordDType {
  if (isRecordDType(dtype)) return;
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `WebGPU: weights of type ${dtype}, expected one of ${RECORD_DTYPES.join(", ")}; compute on WebAssembly`,
    { details: { dtype } },
  );
}
