import { describe, expect, it } from "vitest";
import {
  BLOCK_DTYPES,
  blockElements,
  DTYPES,
  isBlockDType,
  isDType,
  isRecordDType,
  RECORD_DTYPES,
  rowBytes,
} from "./dtype.js";

describe("rowBytes", () => {
  it("counts whole blocks, scales included", () => {
    expect(rowBytes("f16", 3)).toBe(6);
    expect(rowBytes("q4_0", 4096)).toBe(2304);
    expect(rowBytes("q4_k", 4096)).toBe(2304);
    expect(rowBytes("mxfp4", 64)).toBe(34);
    expect(rowBytes("q8_0", 0)).toBe(0);
  });

  it("has no bytes for a part of a block", () => {
    expect(() => rowBytes("q6_k", 384)).toThrow(/384 q6_k elements is no whole number of blocks of 256/);
  });
});

describe("types", () => {
  it("are plain, in records and files of ours, or blocks", () => {
    expect(DTYPES).toEqual([...RECORD_DTYPES, ...BLOCK_DTYPES]);
    expect(DTYPES.every((dtype) => isRecordDType(dtype) !== isBlockDType(dtype))).toBe(true);
    expect(RECORD_DTYPES.every((dtype) => blockElements(dtype) === 1)).toBe(true);
  });

  it("are known by name", () => {
    expect(["q4_0", "f32", "q4_2", "toString", 4, undefined].map(isDType)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});
