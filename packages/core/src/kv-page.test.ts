import { expect, it } from "vitest";
import { KV_PAGE_TOKENS, kvPartBytes } from "./kv-page.js";

it("a part of a page holds keys and values of 16 tokens, and the scales of int8", () => {
  expect(KV_PAGE_TOKENS).toBe(16);
  expect(kvPartBytes("f32", 2, 64)).toBe(2 * 2 * 16 * 64 * 4);
  expect(kvPartBytes("f16", 2, 64)).toBe(2 * 2 * 16 * 64 * 2);
  expect(kvPartBytes("int8", 2, 64)).toBe(2 * 2 * 16 * 64 + 2 * 4 * 2 * 16);
});

it("parts keep the alignment of an arena for odd heads", () => {
  for (const dtype of ["f32", "f16", "int8"] as const) {
    for (const headDim of [1, 9, 15, 64, 80]) expect(kvPartBytes(dtype, 3, headDim) % 16).toBe(0);
  }
});
