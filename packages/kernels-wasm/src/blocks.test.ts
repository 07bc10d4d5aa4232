/** Rows of blocks at sizes at which the module takes its other paths, and vectors that are not ordinary. */
import { BLOCK_DTYPES, type BlockDType, blockElements, type DType, rowBytes, UnsupportedError } from "@flashwick/core";
import { Arena, type Kernels, type Matrix } from "@flashwick/kernels";
import {
  CONFORMANCE_ARENA_BYTES,
  type ConformanceCase,
  runConformanceCase,
  titleOf,
} from "@flashwick/kernels/conformance";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import { createWasmKernels, instantiate } from "./wasm-kernels.js";

describe("blocks beyond a panel of rows and of columns", () => {
  const kernels = createWasmKernels(new Arena(CONFORMANCE_ARENA_BYTES));
  const cases = BLOCK_DTYPES.flatMap((dtype): ConformanceCase[] => {
    const shape = { op: "linear", dtype, cols: 1280, bias: true } as const;
    return [
      { ...shape, check: "close", rows: 38, nTokens: 5 },
      { ...shape, check: "batch", rows: 17, nTokens: 4 },
      { ...shape, check: "ranges", rows: 70, nTokens: 6 },
    ];
  });
  // More vectors than the rows meet in one pass.
  const wide = { op: "linear", check: "close", rows: 6, cols: 10240, nTokens: 35, bias: false } as const;
  cases.push({ ...wide, dtype: "q4_0" }, { ...wide, dtype: "q4_k" });
  for (const c of cases) it(titleOf(c), () => expect(() => runConformanceCase(kernels, c)).not.toThrow());
});

/** Bits of the products of five rows of noise with x, one vector of a block and then three. */
function products(kernels: Kernels, dtype: BlockDType, x: readonly number[]): number[] {
  const { arena } = kernels;
  const [rows, cols] = [5, blockElements(dtype)];
  const data = arena.allocate(rows * rowBytes(dtype, cols) + 64, 64);
  // Halves of either sign, 2^-24 and up: subnormal ones, too.
  const words = arena.u32(data, Math.ceil((rows * rowBytes(dtype, cols)) / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 2654435761) & 0xa3ffa3ff;
  const vectors = arena.allocate(4 * 3 * cols, 64);
  for (let t = 0; t < 3; t++) arena.f32(vectors + 4 * t * cols, cols).set(x);
  const out = arena.allocate(4 * 3 * 16, 64);
  const w: Matrix = { dtype, data, scales: 0, rows, cols };
  const scratch = arena.allocate(kernels.scratchBytes(cols, 3), 64);
  return [1, 3].flatMap((nTokens) => {
    kernels.linear(out, vectors, w, 0, nTokens, scratch);
    return Array.from(arena.f32(out, 16 * nTokens));
  });
}

const vectors: Readonly<Record<string, readonly number[]>> = {
  "numbers of very different sizes": Array.from({ length: 32 }, (_, i) => (-1) ** i * 2 ** (i - 16)),
  "a group of zeros": [0, -0],
  "the smallest floats": [2 ** -149, -3 * 2 ** -149, 40000 * 2 ** -149],
  "large floats": [3e30, -2e30, 1],
  NaN: [1, Number.NaN],
  infinity: [1, Number.NEGATIVE_INFINITY],
};

describe.each(BLOCK_DTYPES)("%s gives the reference's bits for", (dtype) => {
  it.each(Object.entries(vectors))("%s", (_, x) => {
    const found = products(createWasmKernels(new Arena(2 ** 18)), dtype, x);
    expect(found).toEqual(products(createReferenceKernels(new Arena(2 ** 18)), dtype, x));
  });
});

describe("a type that is none", () => {
  const matrix = { data: 65536, scales: 0, rows: 1, cols: 32 };

  it("is refused by name", () => {
    const kernels = createWasmKernels(new Arena(1000));
    const w: Matrix = { ...matrix, dtype: "q4_2" as DType };
    expect(() => kernels.linear(65536, 65536, w, 0, 1, 65536)).toThrow(UnsupportedError);
    expect(() => kernels.gatherRow(65536, w, 0)).toThrow(/weights of type q4_2, expected one of f32,/);
  });

  it("traps as a number", () => {
    const wasm = instantiate(new Arena(4096));
    const { data, rows, cols } = matrix;
    const run = () => wasm.linear(65536, 65536, 17, data, 0, rows, cols, 0, 1, 65536, 0, 1);
    expect(run).toThrow(WebAssembly.RuntimeError);
    expect(() => wasm.gatherRow(65536, 99, data, 0, cols, 0)).toThrow(WebAssembly.RuntimeError);
  });

  it("has no parts of blocks", () => {
    const kernels = createWasmKernels(new Arena(1000));
    const w: Matrix = { ...matrix, dtype: "q4_k" };
    expect(() => kernels.linear(65536, 65536, w, 0, 1, 65536)).toThrow(/32 columns are no whole number of q4_k blocks/);
  });
});
