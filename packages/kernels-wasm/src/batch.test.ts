/** Sizes at which the module takes its other paths: widened panels of rows, blocks of columns, folded checksums. */
import { Arena } from "@flashwick/kernels";
import {
  CONFORMANCE_ARENA_BYTES,
  type ConformanceCase,
  runConformanceCase,
  titleOf,
} from "@flashwick/kernels/conformance";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import { createWasmKernels } from "./wasm-kernels.js";

describe("batches beyond a panel of rows and a block of columns", () => {
  const kernels = createWasmKernels(new Arena(CONFORMANCE_ARENA_BYTES));
  const cases = (["f32", "f16", "bf16", "int8"] as const).flatMap((dtype): ConformanceCase[] => [
    { op: "linear", check: "close", dtype, rows: 37, cols: 1100, nTokens: 18, bias: true },
    { op: "linear", check: "batch", dtype, rows: 37, cols: 1100, nTokens: 18, bias: false },
    { op: "linear", check: "ranges", dtype, rows: 50, cols: 1032, nTokens: 16, bias: true },
    { op: "linear", check: "batch", dtype, rows: 40, cols: 4104, nTokens: 2, bias: false },
  ]);
  for (const c of cases) it(titleOf(c), () => expect(() => runConformanceCase(kernels, c)).not.toThrow());

  it("scratch grows with columns and with vectors, so the largest serves all", () => {
    const sizes = [1, 2, 3, 15, 16, 17, 128].map((nTokens) => kernels.scratchBytes(1000, nTokens));
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
    expect(kernels.scratchBytes(2000, 16)).toBeGreaterThan(kernels.scratchBytes(1000, 17));
  });
});

describe("neurons in groups of twelve, four and one", () => {
  const kernels = createWasmKernels(new Arena(CONFORMANCE_ARENA_BYTES));
  const cases = (["f32", "f16", "bf16", "int8"] as const).flatMap((dtype): ConformanceCase[] => {
    const shape = { op: "ffn", dtype, activation: "relu", slotCount: 90, n: 83, bias: true } as const;
    return [
      { ...shape, check: "close", dModel: 80, nTokens: 1 },
      { ...shape, check: "close", dModel: 72, nTokens: 7, activation: "gelu" },
      { ...shape, check: "batch", dModel: 80, nTokens: 7 },
      { ...shape, check: "batch", dModel: 72, nTokens: 2 },
      { ...shape, check: "ranges", dModel: 112, nTokens: 1, activation: "gelu" },
      { ...shape, check: "waves", dModel: 80, nTokens: 1, activation: "gelu" },
      { ...shape, check: "zeros", dModel: 112, nTokens: 1 },
      { ...shape, check: "batch", dModel: 80, nTokens: 7, gated: "none", activation: "silu", slotCount: 500, n: 491 },
      { ...shape, check: "ranges", dModel: 72, nTokens: 1, gated: "relu", slotCount: 500, n: 491 },
    ];
  });
  for (const c of cases) it(titleOf(c), () => expect(() => runConformanceCase(kernels, c)).not.toThrow());
});

describe("checksums of every length around the folds", () => {
  it("equal the reference's, from either seed", () => {
    const arena = new Arena(8192);
    const [fast, slow] = [createWasmKernels(arena), createReferenceKernels(arena)];
    const at = arena.allocate(2048);
    const bytes = arena.u8(at, 2048);
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i + 1, 2654435761) >>> 24;
    for (let size = 0; size < 700; size++) {
      for (const seed of [0, 0xdeadbeef]) {
        const ptr = at + (size % 16);
        expect(fast.crc32c(ptr, size, seed), `${size} bytes`).toBe(slow.crc32c(ptr, size, seed));
      }
    }
  });
});
