import { activationFunction, FlashwickError, KV_PAGE_TOKENS, kvPartBytes } from "@flashwick/core";
import { describe, expect, it, vi } from "vitest";
import { ARENA_RESERVED_BYTES, Arena } from "../arena.js";
import { CONFORMANCE_ARENA_BYTES, conformanceCases, runConformanceCase, titleOf } from "../conformance/index.js";
import { type KvCache, type Matrix, ONE_MEMORY, type SlotMatrix, type TrainingKernels } from "../contract.js";
import { createReferenceKernels } from "../reference/index.js";
import { checkedKernels } from "./checked-kernels.js";

describe("the conformance table, with arguments checked", () => {
  const checked = checkedKernels(createReferenceKernels(new Arena(CONFORMANCE_ARENA_BYTES)));
  for (const c of conformanceCases) {
    it(titleOf(c), () => expect(() => runConformanceCase(checked, c)).not.toThrow());
  }
});

const arena = new Arena(64 * 1024);
const reference = createReferenceKernels(arena);
/** As a backend with scratch: of 64 bytes for every op. */
const withScratch: TrainingKernels = {
  ...reference,
  scratchBytes: () => 64,
  gatedScratchBytes: () => 64,
  attentionScratchBytes: () => 64,
};
const kernels = checkedKernels(withScratch);
const END = arena.sizeBytes;

const [x, out, scratch] = [arena.allocate(4 * 64), arena.allocate(4 * 64), arena.allocate(64)];
const w: Matrix = { dtype: "f32", data: arena.allocate(4 * 4 * 8 + 64), scales: 0, rows: 4, cols: 8 };
const int8: Matrix = { ...w, dtype: "int8", scales: arena.allocate(16) };
const slots = arena.allocate(16);
arena.u32(slots, 3).set([2, 0, 1]);
const neurons: SlotMatrix = {
  dtype: "f32",
  base: arena.allocate(3 * 512 + 64, 512),
  strideBytes: 512,
  upOffsetBytes: 0,
  downOffsetBytes: 64,
  scalesOffsetBytes: 0,
  dModel: 8,
  bias: 0,
  gate: null,
};
const farSlots = arena.allocate(16);
arena.u32(farSlots, 1).set([100_000]);
const partBytes = kvPartBytes("f32", 1, 8);
const cache: KvCache = { dtype: "f32", pages: arena.allocate(16), offsetBytes: 0, nKvHeads: 1, headDim: 8 };
arena.u32(cache.pages, 2).set([arena.allocate(partBytes), 8]);
const shape = { nHeads: 2, scale: 1 };
const relu = activationFunction("relu");
const rows = arena.allocate(16);
arena.u32(rows, 2).set([1, 1]);

/** A call that must be refused, and the operand that its error names. */
const mistakes: readonly (readonly [string, string, () => unknown])[] = [
  ["linear over a vector that ends beyond the arena", "x", () => kernels.linear(out, END - 4, w, 0, 1, scratch)],
  [
    "linear into what belongs to the module",
    "out",
    () => kernels.linear(ARENA_RESERVED_BYTES - 64, x, w, 0, 1, scratch),
  ],
  ["linear at an address between elements", "x", () => kernels.linear(out, x + 2, w, 0, 1, scratch)],
  ["linear onto its own input", "out", () => kernels.linear(x, x, w, 0, 1, scratch)],
  [
    "linear of a type that is none",
    "w.dtype",
    () => kernels.linear(out, x, { ...w, dtype: "f8" as "f16" }, 0, 1, scratch),
  ],
  ["linear of rows that the matrix has not", "rowEnd", () => kernels.linear(out, x, w, 0, 1, scratch, 0, 5)],
  ["linear of a range that ends before it begins", "rowEnd", () => kernels.linear(out, x, w, 0, 1, scratch, 3, 2)],
  [
    "linear without the scales of int8",
    "w.scales",
    () => kernels.linear(out, x, { ...int8, scales: 4 }, 0, 1, scratch),
  ],
  [
    "linear of rows that are no whole blocks",
    "w.cols",
    () => kernels.linear(out, x, { ...w, dtype: "q8_0" }, 0, 1, scratch),
  ],
  [
    "linear of blocks at an odd address",
    "w.data",
    () => kernels.linear(out, x, { ...w, dtype: "q8_0", cols: 32, data: w.data + 1, rows: 1 }, 0, 1, scratch),
  ],
  ["linear with half a token", "nTokens", () => kernels.linear(out, x, w, 0, 0.5, scratch)],
  ["linear without scratch", "scratch", () => kernels.linear(out, x, w, 0, 1, 0)],
  ["linear with scratch that is not aligned", "scratch", () => kernels.linear(out, x, w, 0, 1, scratch + 4)],
  ["gatherRow beyond the last row", "row", () => kernels.gatherRow(out, w, 4)],
  [
    "ffnUp of a slot that is not there",
    "slot 100000",
    () => kernels.ffnUp(out, x, neurons, farSlots, 1, 1, relu, scratch),
  ],
  [
    "ffnUp of a function that needs a gate",
    "activation",
    () => kernels.ffnUp(out, x, neurons, slots, 3, 1, activationFunction("swiglu-clamped"), scratch),
  ],
  [
    "ffnUp of a row that leaves its record",
    "matrix.upOffsetBytes",
    () => kernels.ffnUp(out, x, { ...neurons, upOffsetBytes: 480 }, slots, 3, 1, relu, scratch),
  ],
  [
    "ffnUp of more neurons than are named",
    "neuronEnd",
    () => kernels.ffnUp(out, x, neurons, slots, 3, 1, relu, scratch, 0, 4),
  ],
  ["ffnDown of columns that are no group", "colBegin", () => kernels.ffnDown(out, x, neurons, slots, 3, 1, 8, 16)],
  ["layerNorm of no elements", "n", () => kernels.layerNorm(out, x, 0, 0, 0, 1, 1e-5)],
  ["rmsNorm with an epsilon that is none", "epsilon", () => kernels.rmsNorm(out, x, 0, 8, 1, Number.NaN)],
  [
    "normHeads without heads",
    "nHeads",
    () => kernels.normHeads(x, { kind: "rms", weight: 0, bias: 0, epsilon: 0 }, 0, 8, 1),
  ],
  [
    "rotate of an odd number of elements",
    "tables.dims",
    () => kernels.rotate(x, { cos: x, sin: x, headDim: 8, dims: 3, pairs: "halves" }, 1, 0, 1),
  ],
  [
    "rotate beyond its tables",
    "tables.cos",
    () => kernels.rotate(x, { cos: x, sin: x, headDim: 8, dims: 8, pairs: "halves" }, 1, 1 << 20, 1),
  ],
  ["add of three elements", "count", () => kernels.add(out, x, 3)],
  ["copyRows onto its own input", "out", () => kernels.copyRows(x, x, rows, 2, 8)],
  ["addRowsScaled of one row twice", "rows", () => kernels.addRowsScaled(out, x, rows, x, 2, 8)],
  [
    "storeKv into a page outside of the arena",
    "page 1 of the cache",
    () => kernels.storeKv(cache, x, x, KV_PAGE_TOKENS, 1),
  ],
  [
    "attention of heads that share no keys evenly",
    "shape.nHeads",
    () => kernels.attention(out, x, { ...cache, nKvHeads: 2, headDim: 4 }, { nHeads: 3, scale: 1 }, 0, 1, scratch),
  ],
  [
    "attention with a window of nothing",
    "shape.windowTokens",
    () => kernels.attention(out, x, cache, { ...shape, windowTokens: 0 }, 0, 1, scratch),
  ],
  ["selectAbove of fewer than no scores", "n", () => kernels.selectAbove(out, x, -1, 0)],
  ["crc32c beyond the arena", "ptr", () => kernels.crc32c(END - 4, 5)],
  [
    "crc32cSlots over the bytes it checks",
    "out",
    () => kernels.crc32cSlots(neurons.base, neurons.base, 512, 512, slots, 3),
  ],
  ["gemm whose rows are longer than their distance", "ldc", () => kernels.gemm(out, 4, x, 8, 1, x, 8, 1, 8, 1)],
  ["encodeF16 at an odd address", "dst", () => kernels.encodeF16(out + 1, x, 4)],
  [
    "crossEntropyGradient with labels too close",
    "labelStrideBytes",
    () => kernels.crossEntropyGradient(out, 16, x, 1, 1, 16, 1, 1, 1),
  ],
  ["adamW before its first step", "step", () => kernels.adamW(x, x, x, x, 4, 0, 1, 1, 1, 1, 1)],
  ["put of what is not in the arena", "ptr", () => kernels.put(END, 4)],
];

describe("a call by hand is refused:", () => {
  it.each(mistakes)("%s", (_, operand, call) => {
    const before = arena.bytes.slice();
    let error: unknown;
    try {
      call();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(FlashwickError);
    expect(error).toMatchObject({ code: "SHAPE", details: { operand } });
    expect(Buffer.compare(arena.bytes, before)).toBe(0);
  });
});

it("an error says op, operand, what was expected and what was found", () => {
  expect(() => kernels.linear(out, x + 2, w, 0, 1, scratch)).toThrow(
    `linear: x: expected a multiple of 4, found an address of ${x + 2}; see the op in contract.ts of @flashwick/kernels`,
  );
});

it("pages before a window may be gone", () => {
  const attention = vi.fn();
  const { attention: checked } = checkedKernels({ ...withScratch, attention });
  const gone = { ...cache, pages: arena.allocate(16) };
  arena.u32(gone.pages, 2).set([8, arena.u32(cache.pages, 1)[0]!]);
  checked(out, x, gone, { ...shape, windowTokens: 1 }, KV_PAGE_TOKENS, 1, scratch);
  expect(attention).toHaveBeenCalledOnce();
  expect(() => checked(out, x, gone, { ...shape, windowTokens: 2 }, KV_PAGE_TOKENS, 1, scratch)).toThrow(/page 0/);
});

it("kernels without training stay without, and a mirror's answers pass through", async () => {
  const { gemm: _, ...plain } = reference;
  const take = () => Promise.resolve();
  const checked = checkedKernels({ ...plain, ...ONE_MEMORY, mirrored: true, take, backend: "webgpu" });
  expect("gemm" in checked).toBe(false);
  expect([checked.mirrored, checked.backend]).toEqual([true, "webgpu"]);
  await expect(checked.take(x, 4)).resolves.toBeUndefined();
});
