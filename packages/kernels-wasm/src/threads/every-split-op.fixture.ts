/** Every op that threads share out, for tests of pools: what they leave behind must not depend on who computed what. */
import { activationFunction, BLOCK_DTYPES, kvPartBytes, PLAIN_DTYPES } from "@flashwick/core";
import type { KvCache, Matrix, SlotMatrix, TrainingKernels } from "@flashwick/kernels";

/** Bytes of an arena in which there is room for them. */
export const SPLIT_OPS_ARENA_BYTES = 4 * 2 ** 20;

const RELU = activationFunction("relu");
const DRELU = { ...RELU, up: "relu" } as const;
const CLAMPED_SWIGLU = activationFunction("swiglu-clamped");

/** Awkward widths, prime counts; each op whole and over an odd range. Returns every byte that they leave behind. */
export function everySplitOp(kernels: TrainingKernels): Uint8Array {
  const { arena } = kernels;
  const vector = (n: number) => {
    const ptr = arena.allocate(4 * n + 64, 64);
    arena.f32(ptr, n).set(Float32Array.from({ length: n }, (_, i) => Math.sin(i * i + n)));
    return ptr;
  };
  const weights = arena.allocate(2 ** 20, 64);
  const words = arena.u32(weights, 2 ** 18);
  for (let i = 0; i < words.length; i++) words[i] = (Math.imul(i + 1, 2654435761) & 0x83ff83ff) | 0x38003800;
  const n = 83;
  const slots = arena.allocate(4 * n);
  arena.u32(slots, n).set(Uint32Array.from({ length: n }, (_, i) => (i * 5) % 97));
  const x = vector(3 * 80);
  // Not among the bytes that are compared: addresses depend on how much scratch there is.
  const pages = arena.allocate(4 * 3);
  const scratch = arena.allocate(Math.max(kernels.gatedScratchBytes(80, 3), kernels.attentionScratchBytes(40)), 64);
  const blockScratch = arena.allocate(kernels.gatedScratchBytes(256, 3), 64);
  const out = arena.allocate(64, 64);
  for (const dtype of PLAIN_DTYPES) {
    const scales = dtype === "int8" ? vector(1003) : 0;
    const w: Matrix = { dtype, data: weights, scales, rows: 1003, cols: 72 };
    kernels.linear(arena.allocate(4 * 3 * 1008, 64), x, w, vector(1003), 3, scratch);
    kernels.linear(arena.allocate(4 * 1008, 64), x, w, 0, 1, scratch, 5, 777);
    const scalesOffsetBytes = dtype === "int8" ? 1000 : 0;
    const layout = {
      dtype,
      base: weights,
      strideBytes: 1024,
      upOffsetBytes: 0,
      downOffsetBytes: 512,
      scalesOffsetBytes,
    };
    const matrix: SlotMatrix = { ...layout, dModel: 72, bias: vector(97), gate: null };
    const act = arena.allocate(4 * 3 * 96, 64);
    kernels.ffnUp(act, x, matrix, slots, n, 3, RELU, scratch);
    kernels.ffnDown(vector(3 * 80), act, matrix, slots, n, 3);
    kernels.ffnUp(arena.allocate(4 * 96, 64), x, matrix, slots, n, 1, activationFunction("gelu"), scratch, 3, 64);
    kernels.ffnDown(vector(80), act, matrix, slots, n, 1, 16, 80);
    const gated = { ...matrix, upOffsetBytes: 320, gate: { offsetBytes: 0, bias: vector(97) } };
    kernels.ffnUp(act, x, gated, slots, n, 3, DRELU, scratch);
    kernels.ffnDown(vector(3 * 80), act, gated, slots, n, 3);
    kernels.ffnUp(arena.allocate(4 * 96, 64), x, gated, slots, n, 1, activationFunction("silu"), scratch, 3, 64);
    kernels.ffnUp(act, x, gated, slots, n, 3, CLAMPED_SWIGLU, scratch);
  }
  const wide = vector(3 * 256);
  for (const dtype of BLOCK_DTYPES) {
    const w: Matrix = { dtype, data: weights + 2, scales: 0, rows: 1003, cols: 256 };
    kernels.linear(arena.allocate(4 * 3 * 1008, 64), wide, w, vector(1003), 3, blockScratch);
    kernels.linear(arena.allocate(4 * 1008, 64), wide, w, 0, 1, blockScratch, 5, 777);
  }
  const offsets = { strideBytes: 512, upOffsetBytes: 144, downOffsetBytes: 288, scalesOffsetBytes: 0 };
  const records = { dtype: "q4", base: weights, ...offsets, dModel: 256, bias: vector(97) } as const;
  for (const gate of [null, { offsetBytes: 0, bias: vector(97) }]) {
    const matrix: SlotMatrix = { ...records, gate };
    const act = arena.allocate(4 * 3 * 96, 64);
    kernels.ffnUp(act, wide, matrix, slots, n, 3, RELU, blockScratch);
    kernels.ffnDown(vector(3 * 256), act, matrix, slots, n, 3);
    kernels.ffnUp(arena.allocate(4 * 96, 64), wide, matrix, slots, n, 1, RELU, blockScratch, 3, 64);
    kernels.ffnDown(vector(256), act, matrix, slots, n, 1, 16, 208);
  }
  for (const dtype of ["f32", "f16", "int8"] as const) {
    arena.u32(pages, 3).set([0, 1, 2].map(() => arena.allocate(kvPartBytes(dtype, 5, 15), 64)).reverse());
    const cache: KvCache = { dtype, pages, offsetBytes: 0, nKvHeads: 5, headDim: 15 };
    kernels.storeKv(cache, vector(33 * 80), vector(33 * 80), 0, 33);
    kernels.attention(vector(3 * 80), x, cache, { nHeads: 5, scale: 0.25 }, 30, 3, scratch);
    kernels.attention(vector(80), x, cache, { nHeads: 5, scale: 0.25, slopes: vector(5) }, 32, 1, scratch, 1, 4);
    const more = { windowTokens: 9, sinks: vector(5) };
    kernels.attention(vector(3 * 80), x, cache, { nHeads: 5, scale: 0.25, ...more }, 30, 3, scratch);
  }
  kernels.gate(vector(1000), vector(1000), vector(1000), 996, activationFunction("gelu-tanh"));
  kernels.gate(vector(1000), vector(1000), vector(1000), 996, CLAMPED_SWIGLU);
  kernels.crc32cSlots(arena.allocate(4 * n), weights, 1024, 1021, slots, n);
  kernels.crc32cSlots(arena.allocate(4 * n), weights, 1024, 300, slots, n, 7, 50);
  return arena.u8(out, arena.mark() - out).slice();
}
