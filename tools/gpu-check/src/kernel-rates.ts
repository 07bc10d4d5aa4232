/** How fast `linear` is on a device, for every type that it reads. */
import { type DType, rowBytes } from "@flashwick/core";
import { Arena, type Kernels, type Matrix, type Ptr } from "@flashwick/kernels";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { DEVICE_DTYPES, DEVICE_SCRATCH, type WebGpu } from "@flashwick/kernels-webgpu";
import { bestTimeMs } from "./best-time.js";
import type { DeviceBandwidth, KernelRate } from "./report.js";

/** Columns of the matrices: a common width of models, and whole blocks of every type. */
const COLS = 4096;
/** Decoding, and a short batch. */
const VECTORS = [1, 8] as const;
const TAIL_BYTES = 64;

/** What is timed, in one arena. */
interface Bench {
  readonly arena: Arena;
  readonly kernels: Kernels;
  readonly weights: Ptr;
}

/**
 * Rates of every type, on weights that fill as many bytes as the bandwidth was measured on.
 *
 * Cost: about a second for each type and number of vectors; the weights once in memory and once on the device.
 */
export async function measureKernels(
  device: WebGpu,
  { sizeBytes, readGbPerSec }: DeviceBandwidth,
): Promise<KernelRate[]> {
  const arena = new Arena(benchBytes(sizeBytes));
  const kernels = device.kernels(arena, createWasmKernels(arena));
  const weights = arena.allocate(sizeBytes + TAIL_BYTES, 4096);
  fillWeights(arena.u32(weights, sizeBytes / 4));
  kernels.put(weights, sizeBytes);
  try {
    const rates: KernelRate[] = [];
    for (const dtype of DEVICE_DTYPES) {
      for (const vectors of VECTORS) {
        rates.push(await measureLinear({ arena, kernels, weights }, dtype, vectors, sizeBytes, readGbPerSec));
      }
    }
    return rates;
  } finally {
    device.release(arena);
  }
}

/** Bytes of an arena that has room for so many of weights, and for what they are multiplied with. */
export function benchBytes(weightBytes: number): number {
  const vectors = Math.max(...VECTORS);
  const outputs = Math.max(...DEVICE_DTYPES.map((dtype) => rowsOf(dtype, weightBytes) + 16));
  return (
    weightBytes + 4 * (vectors + 1) * outputs + 4 * vectors * COLS + DEVICE_SCRATCH.scratchBytes(COLS, vectors) + 8192
  );
}

function rowsOf(dtype: DType, weightBytes: number): number {
  return Math.floor(weightBytes / rowBytes(dtype, COLS));
}

/** Small numbers of either sign that are normal in every type, as scales of blocks, too. */
function fillWeights(words: Uint32Array): void {
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = (state & 0x83ff83ff) | 0x38003800;
  }
}

async function measureLinear(
  { arena, kernels, weights }: Bench,
  dtype: DType,
  vectors: number,
  weightBytes: number,
  readGbPerSec: number,
): Promise<KernelRate> {
  const mark = arena.mark();
  const rows = rowsOf(dtype, weightBytes);
  const scales = dtype === "int8" ? arena.allocate(4 * rows) : 0;
  const x = arena.allocate(4 * vectors * COLS);
  const out = arena.allocate(4 * vectors * (rows + 16));
  const scratch = arena.allocate(kernels.scratchBytes(COLS, vectors));
  arena.f32(x, vectors * COLS).fill(0.5);
  kernels.put(x, 4 * vectors * COLS);
  const matrix: Matrix = { dtype, data: weights, scales, rows, cols: COLS };
  const ms = await bestTimeMs({
    run: () => kernels.linear(out, x, matrix, 0, vectors, scratch),
    settle: async () => await kernels.take(out, 4),
  });
  arena.rewind(mark);
  const gbPerSec = (rows * rowBytes(dtype, COLS)) / ms / 1e6;
  const gmacPerSec = (rows * COLS * vectors) / ms / 1e6;
  return {
    kernel: "linear",
    dtype,
    shape: [rows, COLS],
    vectors,
    ms,
    gbPerSec,
    gmacPerSec,
    shareOfRead: gbPerSec / readGbPerSec,
  };
}
