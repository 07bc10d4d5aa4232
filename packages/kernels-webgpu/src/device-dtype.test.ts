import { BLOCK_DTYPES, type DType, PLAIN_DTYPES, UnsupportedError } from "@flashwick/core";
import type { KvDType } from "@flashwick/kernels";
import { describe, expect, it } from "vitest";
import {
  DEVICE_BLOCK_DTYPES,
  DEVICE_DTYPES,
  isDeviceBlockDType,
  kvCode,
  matrixShader,
  recordCode,
  requireDeviceDType,
} from "./device-dtype.js";
import { shaders } from "./shaders.js";

const ABSENT = BLOCK_DTYPES.filter((dtype) => !isDeviceBlockDType(dtype));
/** What no table knows. */
const UNKNOWN = "q9_9" as DType;

it("has Q4_0, Q8_0, Q4_K and Q6_K of ggml's blocks", () => {
  expect(DEVICE_BLOCK_DTYPES).toEqual(["q4_0", "q8_0", "q4_k", "q6_k"]);
  expect(ABSENT).toHaveLength(BLOCK_DTYPES.length - 4);
});

it.each([...ABSENT, "q4" as const, UNKNOWN])("refuses %s by name, with the list of what it has", (dtype) => {
  const expected =
    `WebGPU: tensor a.weight of type ${dtype}, expected one of f32, f16, bf16, int8, q4_0, q8_0, q4_k, q6_k; ` +
    "compute on WebAssembly (--backend wasm)";
  expect(() => requireDeviceDType(dtype, "tensor a.weight")).toThrow(UnsupportedError);
  expect(() => requireDeviceDType(dtype, "tensor a.weight")).toThrow(expected);
});

describe("choosing shaders", () => {
  const all = shaders(4, false);

  it.each(DEVICE_DTYPES)("finds those of %s", (dtype) => {
    expect(all).toHaveProperty([matrixShader("linear", dtype).shader]);
    expect(all).toHaveProperty([matrixShader("gatherRow", dtype).shader]);
  });

  it.each([...ABSENT, UNKNOWN])("finds none for %s, and says so", (dtype) => {
    expect(() => matrixShader("linear", dtype)).toThrow(UnsupportedError);
    expect(() => matrixShader("gatherRow", dtype)).toThrow(UnsupportedError);
  });

  it("takes no blocks for records, and no bf16 for keys and values", () => {
    for (const dtype of [...BLOCK_DTYPES, "q4", UNKNOWN] as const)
      expect(() => recordCode(dtype)).toThrow(/records of neurons/);
    for (const dtype of PLAIN_DTYPES) expect(recordCode(dtype)).toBe(PLAIN_DTYPES.indexOf(dtype));
    for (const dtype of ["bf16", "q8_0", "q9_9"]) expect(() => kvCode(dtype as KvDType)).toThrow(/keys and values/);
  });
});
