/**
 * The contract of @flashwick/kernels over the WebAssembly module: names become numbers, records become arguments, and
 * nothing else happens on this side of the boundary.
 */
import { assert, assertActivation, blockElements, type DType, MAX_INT8_COLS, paddedLength } from "@flashwick/core";
import {
  ACTIVATION_CODE,
  ARENA_RESERVED_BYTES,
  type Arena,
  dtypeCode,
  gateRowOf,
  type HeadNorm,
  type KernelFactory,
  kernelFactory,
  ONE_MEMORY,
  type ScratchSizes,
  type TrainingKernels,
} from "@flashwick/kernels";
import { byteModule } from "./byte-module.js";
import { WASM_SCRATCH } from "./scratch-sizes.js";
import { instanceOver, type KernelModules } from "./threads/instance.js";
import type { WasmExports } from "./wasm-exports.js";
import { wasmModule } from "./wasm-module.js";

/** As in assembly/norm.ts. */
const NORM_CODE: Readonly<Record<HeadNorm["kind"], number>> = { layer: 0, rms: 1 };

/**
 * The SIMD kernels over an arena, shared or not. Each thread makes its own over the same arena.
 *
 * The module keeps its tables in the bottom {@link ARENA_RESERVED_BYTES} of the arena and touches nothing else unasked.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` if the platform lacks WebAssembly SIMD, or refuses to compile
 *   synchronously and `compileWasmKernels` was not awaited.
 */
export const createWasmKernels: KernelFactory = /* @__PURE__ */ kernelFactory(
  (arena) => kernelsOver(arena, instantiate(arena), WASM_SCRATCH),
  WASM_SCRATCH,
);

/**
 * The same, but with activations of eight bits beside rows of blocks in `linear`: bit for bit those of `createByteVectorReference`, on every machine.
 * `compileByteVectorKernels` must have been awaited.
 */
export const createByteVectorKernels: KernelFactory = /* @__PURE__ */ kernelFactory(
  (arena) => kernelsOver(arena, instantiate(arena, 8), WASM_SCRATCH),
  WASM_SCRATCH,
);

/** The contract over any implementation of the module's exports: the module itself, or threads that share it out. */
export function kernelsOver(arena: Arena, wasm: WasmExports, scratchSizes: ScratchSizes): TrainingKernels {
  return {
    ...ONE_MEMORY,
    ...scratchSizes,
    backend: "wasm",
    arena,
    linear(out, x, w, bias, nTokens, scratch, rowBegin = 0, rowEnd = w.rows) {
      const { dtype, data, scales, rows, cols } = w;
      const code = dtypeCode(dtype);
      assertColumns(dtype, cols);
      wasm.linear(out, x, code, data, scales, rows, cols, bias, nTokens, scratch, rowBegin, rowEnd);
    },
    ffnUp(act, x, matrix, slots, n, nTokens, activation, scratch, begin = 0, end = n) {
      const { base, strideBytes, upOffsetBytes, scalesOffsetBytes, dModel, bias, gate } = matrix;
      const code = dtypeCode(matrix.dtype);
      assertColumns(matrix.dtype, dModel);
      assertActivation(activation, gate !== null);
      const { kind, threshold, up } = activation;
      const [upBase, scales] = [base + upOffsetBytes, base + scalesOffsetBytes];
      if (gate === null) {
        // biome-ignore format: one line a group of operands
        wasm.ffnUp(
          act, x, code, upBase, strideBytes, scales, dModel, bias,
          slots, n, nTokens, ACTIVATION_CODE[kind], threshold, scratch, begin, end,
        );
      } else {
        // No slot has its gate row at 0: that says that the sums are in act.
        const [gateBase, gateBias] = gate === "given" ? [0, 0] : [base + gate.offsetBytes, gate.bias];
        // biome-ignore format: one line a group of operands
        wasm.ffnUpGated(
          act, x, code, gateBase, upBase, strideBytes, scales, dModel, gateBias, bias,
          slots, n, nTokens, ACTIVATION_CODE[kind], threshold, up === "relu" ? 1 : 0, scratch, begin, end,
        );
      }
    },
    ffnDown(out, act, matrix, slots, n, nTokens, colBegin = 0, colEnd = paddedLength(matrix.dModel)) {
      const { base, strideBytes, downOffsetBytes, scalesOffsetBytes, dModel } = matrix;
      const code = dtypeCode(matrix.dtype);
      // The last of a slot's scales.
      const scales = base + scalesOffsetBytes + (gateRowOf(matrix) ? 8 : 4);
      // biome-ignore format: one line a group of operands
      wasm.ffnDown(
        out, act, code, base + downOffsetBytes, strideBytes, scales, dModel,
        slots, n, nTokens, colBegin, colEnd,
      );
    },
    layerNorm: (out, x, weight, bias, n, nTokens, epsilon) => wasm.layerNorm(out, x, weight, bias, n, nTokens, epsilon),
    rmsNorm: (out, x, weight, n, nTokens, epsilon) => wasm.rmsNorm(out, x, weight, n, nTokens, epsilon),
    normHeads(x, { kind, weight, bias, epsilon }, nHeads, headDim, nTokens) {
      wasm.normHeads(x, NORM_CODE[kind], weight, bias, epsilon, nHeads, headDim, nTokens);
    },
    gate(act, gate, up, count, activation) {
      assertActivation(activation, true);
      const { kind, threshold } = activation;
      wasm.gate(act, gate, up, count, ACTIVATION_CODE[kind], threshold, activation.up === "relu" ? 1 : 0);
    },
    scale: (x, count, factor) => wasm.scale(x, count, factor),
    add: (out, x, count) => wasm.add(out, x, count),
    addScaled: (out, x, count, factor) => wasm.addScaled(out, x, count, factor),
    copyRows: (out, x, rows, n, cols) => wasm.copyRows(out, x, rows, n, cols),
    addRowsScaled: (out, x, rows, factors, n, cols) => wasm.addRowsScaled(out, x, rows, factors, n, cols),
    relu: (x, count) => wasm.relu(x, count),
    zero: (out, count) => wasm.zero(out, count),
    gatherRow: (out, w, row) => wasm.gatherRow(out, dtypeCode(w.dtype), w.data, w.scales, w.cols, row),
    storeKv(cache, k, v, position, nTokens) {
      const { dtype, pages, offsetBytes, nKvHeads, headDim } = cache;
      wasm.storeKv(dtypeCode(dtype), pages, offsetBytes, nKvHeads, headDim, k, v, position, nTokens);
    },
    rotate(x, { cos, sin, headDim, dims, pairs }, nHeads, position, nTokens) {
      assert(dims % 2 === 0 && dims <= headDim, "whole pairs of a head are turned");
      wasm.rotate(x, cos, sin, headDim, dims, pairs === "neighbours" ? 1 : 0, nHeads, position, nTokens);
    },
    attention(out, q, cache, shape, position, nTokens, scratch, headBegin = 0, headEnd = shape.nHeads) {
      const { dtype, pages, offsetBytes, nKvHeads, headDim } = cache;
      const { nHeads, scale, slopes = 0, windowTokens, sinks = 0 } = shape;
      assert(windowTokens !== 0, "a window has its own position in it");
      // biome-ignore format: one line a group of operands
      wasm.attention(
        out, q, dtypeCode(dtype), pages, offsetBytes, nKvHeads, headDim, nHeads, scale, slopes, windowTokens ?? 0, sinks,
        position, nTokens, scratch, headBegin, headEnd,
      );
    },
    selectAbove: (out, scores, n, threshold) => wasm.selectAbove(out, scores, n, threshold) >>> 0,
    crc32c: (ptr, sizeBytes, seed = 0) => wasm.crc32c(ptr, sizeBytes, seed) >>> 0,
    crc32cSlots(out, base, strideBytes, sizeBytes, slots, n, begin = 0, end = n) {
      wasm.crc32cSlots(out, base, strideBytes, sizeBytes, slots, begin, end);
    },
    gemm: (c, ldc, a, aRowStride, aColStride, b, ldb, m, n, k) =>
      wasm.gemm(c, ldc, a, aRowStride, aColStride, b, ldb, m, n, k),
    gemmTransposed: (c, ldc, a, lda, b, ldb, m, n, k) => wasm.gemmTransposed(c, ldc, a, lda, b, ldb, m, n, k),
    decodeF16: (dst, src, count) => wasm.decodeF16(dst, src, count),
    encodeF16: (dst, src, count) => wasm.encodeF16(dst, src, count),
    reluGradient: (x, gate, count) => wasm.reluGradient(x, gate, count),
    crossEntropyGradient: (z, ldz, labels, labelStride, m, n, positiveWeight, negativeWeight, scale) =>
      wasm.crossEntropyGradient(z, ldz, labels, labelStride, m, n, positiveWeight, negativeWeight, scale),
    adamW(w, g, m, v, count, step, lr, beta1, beta2, epsilon, decay) {
      const correction1 = 1 - beta1 ** step;
      const correction2 = 1 - beta2 ** step;
      // biome-ignore format: one line a group of operands
      wasm.adamW(
        w, g, m, v, count, correction1, correction2, lr,
        beta1, beta2, 1 - beta1, 1 - beta2, epsilon, decay,
      );
    },
  };
}

/** The message is made only when it is needed: ops are called every few microseconds. */
function assertColumns(dtype: DType, cols: number): void {
  if (dtype === "int8") {
    if (cols > MAX_INT8_COLS) assert(false, `int8 rows have at most ${MAX_INT8_COLS} columns, found ${cols}`);
  } else if (cols % blockElements(dtype) !== 0) {
    assert(false, `${cols} columns are no whole number of ${dtype} blocks`);
  }
}

/**
 * A loop that only reads: `(ptr, sizeBytes)`, sizeBytes a multiple of 64. What a kernel's bytes per second are held
 * against, as a matrix-vector product can be no faster than reading the matrix.
 */
export function createReadLoop(arena: Arena): (ptr: number, sizeBytes: number) => void {
  const wasm = instantiate(arena);
  return (ptr, sizeBytes) => {
    wasm.readLoop(ptr, sizeBytes);
  };
}

/** True if threads can share the arena's memory. */
export function isShared({ memory }: Arena): boolean {
  return typeof SharedArrayBuffer !== "undefined" && memory.buffer instanceof SharedArrayBuffer;
}

/** Bits of activations beside blocks, where they are not 15. */
export type ActivationBits = 8;

/** The modules for arenas in shared memory, or in ordinary one. */
export function kernelModules(shared: boolean, activationBits: ActivationBits | undefined): KernelModules {
  return { module: wasmModule(shared), byteModule: activationBits === 8 ? byteModule(shared) : null };
}

/** The module over an arena. */
export function instantiate(arena: Arena, activationBits?: ActivationBits): WasmExports {
  const wasm = instanceOver(kernelModules(isShared(arena), activationBits), arena.memory);
  assert(wasm.reservedBytes() <= ARENA_RESERVED_BYTES, "the module's static data exceeds the arena's reserved bytes");
  return wasm;
}
