/** The number of each type, by name. */
import { type DType, UnsupportedError } from "@flashwick/core";
import {
  BF16,
  F16,
  F32,
  INT8,
  IQ4_NL,
  IQ4_XS,
  MXFP4,
  Q2_K,
  Q3_K,
  Q4_0,
  Q4_1,
  Q4_K,
  Q5_0,
  Q5_1,
  Q5_K,
  Q6_K,
  Q8_0,
} from "./dtype-constants.js";

const CODES: Readonly<Record<DType, number>> = {
  f32: F32,
  f16: F16,
  bf16: BF16,
  int8: INT8,
  q4: Q4_0,
  q4_0: Q4_0,
  q4_1: Q4_1,
  q5_0: Q5_0,
  q5_1: Q5_1,
  q8_0: Q8_0,
  q2_k: Q2_K,
  q3_k: Q3_K,
  q4_k: Q4_K,
  q5_k: Q5_K,
  q6_k: Q6_K,
  iq4_nl: IQ4_NL,
  iq4_xs: IQ4_XS,
  mxfp4: MXFP4,
};

/**
 * The number by which kernels on the other side of a boundary know a type: an argument of WebAssembly, a parameter of WGSL.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a name that is none, which a number would turn into another type.
 */
export function dtypeCode(dtype: DType): number {
  const code = CODES[dtype];
  if (code !== undefined) return code;
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `weights of type ${String(dtype)}, expected one of ${Object.keys(CODES).join(", ")}`,
    { details: { dtype } },
  );
}
