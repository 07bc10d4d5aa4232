import { describe, expect, it } from "vitest";
import {
  BLOCK_DTYPES,
  blockElements,
  blocksOf,
  DTYPES,
  isBlockDType,
  isDType,
  isPlainDType,
  isRecordDType,
  PLAIN_DTYPES,
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
    expect(PLAIN_DTYPES.every((dtype) => blockElements(dtype) === 1 && isPlainDType(dtype))).toBe(true);
    expect(isPlainDType("q4")).toBe(false);
  });

  it("of records in four bits are made of Q4_0's blocks", () => {
    expect(rowBytes("q4", 4096)).toBe(rowBytes("q4_0", 4096));
    expect(["q4", "q4_0", "q6_k", "int8"].map((dtype) => blocksOf(dtype as (typeof DTYPES)[number]))).toEqual([
      "q4_0",
      "q4_0",
      "q6_k",
      null,
    ]);
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
