/**
 * The reference backend: every op of the contract in plain TypeScript, to be read and to be compared with.
 *
 * Sums are f32 (`Math.fround` after each product and each addition), in the order that each file states; functions
 * (exp, erf, mean, variance) are double precision, rounded once. An output element depends on its row and its vector
 * alone, so a batch equals its vectors one by one, and a split range the whole, bit for bit.
 */
import { paddedLength } from "@flashwick/core";
import type { Arena } from "../arena.js";
import { type KernelFactory, kernelFactory, NO_SCRATCH, ONE_MEMORY, type TrainingKernels } from "../contract.js";
import { viewArena } from "./arena-views.js";
import { attention, storeKv } from "./attention.js";
import { BYTE_VECTOR_MOST, VECTOR_MOST } from "./block-product.js";
import { crc32c } from "./crc32c.js";
import { add, addScaled, gate, relu, scale, selectAbove, zero } from "./elementwise.js";
import { ffnDown, ffnUp } from "./ffn.js";
import { gatherRow, linear } from "./linear.js";
import { layerNorm, normHeads, rmsNorm } from "./norm.js";
import { rotate } from "./rotary.js";
import { addRowsScaled, copyRows } from "./rows.js";
import { adamW, crossEntropyGradient, decodeF16, encodeF16, gemm, gemmTransposed, reluGradient } from "./training.js";

/**
 * The reference kernels over an arena. They need no scratch; temporary rows are ordinary JavaScript arrays.
 *
 * Cost: some 0.2-1 GFLOP/s. For tests, and for platforms without WebAssembly SIMD.
 */
export const createReferenceKernels: KernelFactory = /* @__PURE__ */ kernelFactory(
  (arena) => referenceKernels(arena, VECTOR_MOST),
  NO_SCRATCH,
);

/** The same, but `linear` rounds vectors beside rows of blocks to eight bits instead of 15 (contract.ts). */
export const createByteVectorReference: KernelFactory = /* @__PURE__ */ kernelFactory(
  (arena) => referenceKernels(arena, BYTE_VECTOR_MOST),
  NO_SCRATCH,
);

function referenceKernels(arena: Arena, vectorMost: number): TrainingKernels {
  const views = viewArena(arena);
  return {
    ...ONE_MEMORY,
    backend: "reference",
    arena,
    ...NO_SCRATCH,
    linear: (out, x, w, bias, nTokens, _scratch, rowBegin = 0, rowEnd = w.rows) =>
      linear(views, out, x, w, bias, nTokens, rowBegin, rowEnd, vectorMost),
    ffnUp: (act, x, matrix, slots, n, nTokens, activation, _scratch, begin = 0, end = n) =>
      ffnUp(views, act, x, matrix, slots, n, nTokens, activation, begin, end),
    ffnDown: (out, act, matrix, slots, n, nTokens, colBegin = 0, colEnd = paddedLength(matrix.dModel)) =>
      ffnDown(views, out, act, matrix, slots, n, nTokens, colBegin, colEnd),
    layerNorm: (...operands) => layerNorm(views, ...operands),
    rmsNorm: (...operands) => rmsNorm(views, ...operands),
    normHeads: (...operands) => normHeads(views, ...operands),
    gate: (...operands) => gate(views, ...operands),
    scale: (...operands) => scale(views, ...operands),
    add: (...operands) => add(views, ...operands),
    addScaled: (...operands) => addScaled(views, ...operands),
    copyRows: (...operands) => copyRows(views, ...operands),
    addRowsScaled: (...operands) => addRowsScaled(views, ...operands),
    relu: (...operands) => relu(views, ...operands),
    zero: (...operands) => zero(views, ...operands),
    gatherRow: (...operands) => gatherRow(views, ...operands),
    storeKv: (...operands) => storeKv(views, ...operands),
    rotate: (...operands) => rotate(views, ...operands),
    attention: (out, q, cache, shape, position, nTokens, _scratch, headBegin = 0, headEnd = shape.nHeads) =>
      attention(views, out, q, cache, shape, position, nTokens, headBegin, headEnd),
    selectAbove: (...operands) => selectAbove(views, ...operands),
    crc32c: (ptr, sizeBytes, seed = 0) => crc32c(views, ptr, sizeBytes, seed),
    crc32cSlots(out, base, strideBytes, sizeBytes, slots, n, begin = 0, end = n) {
      const [sums, numbers] = [arena.u32(out, n), arena.u32(slots, n)];
      for (let i = begin; i < end; i++) sums[i] = crc32c(views, base + numbers[i]! * strideBytes, sizeBytes, 0);
    },
    gemm: (...operands) => gemm(views, ...operands),
    gemmTransposed: (...operands) => gemmTransposed(views, ...operands),
    decodeF16: (...operands) => decodeF16(views, ...operands),
    encodeF16: (...operands) => encodeF16(views, ...operands),
    reluGradient: (...operands) => reluGradient(views, ...operands),
    crossEntropyGradient: (...operands) => crossEntropyGradient(views, ...operands),
    adamW: (...operands) => adamW(views, ...operands),
  };
}
