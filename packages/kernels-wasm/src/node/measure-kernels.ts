/**
 * Measures the matrix-vector product of each dtype on one thread and on several, beside a loop that only reads.
 *
 * Check, then time: every conformance case runs on the very pool that is timed. Weights are streamed from DRAM: a pass
 * touches all of {@link WEIGHT_BYTES}. A product and its read loop take turns, and each counts with its best time, so that
 * neighbours of the machine disturb both alike.
 */
import { type DType, eventLoopTurn, PLAIN_DTYPES, rowBytes } from "@flashwick/core";
import { Arena, type Matrix, type Ptr } from "@flashwick/kernels";
import { CONFORMANCE_ARENA_BYTES, conformanceCases, runConformanceCase } from "@flashwick/kernels/conformance";
import type { ComputePool } from "../threads/compute-pool.js";
import { startPool } from "./compute-pool.js";

const MiB = 2 ** 20;
/** Well beyond last-level caches. */
const WEIGHT_BYTES = 192 * MiB;
const COLS = 4096;
/** Passes of each row, at least, and how long they take at least. */
const LEAST_PASSES = 7;
const LEAST_MS = 300;

/** Which kernels are measured, on how many threads and bytes. */
export interface MeasureKernelsOptions {
  /** Threads beside one; 1: only that. */
  readonly threads: number;
  /** Sees each row as it is measured. */
  readonly onRow?: ((row: KernelRow) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Types to measure; default the plain ones. */
  readonly dtypes?: readonly DType[] | undefined;
  /** How long each row takes at least, milliseconds; default 300. More on a machine with other work on it. */
  readonly leastMs?: number | undefined;
  /** MiB of weights; default 192. Less than the last-level cache measures the cache. */
  readonly weightMiB?: number | undefined;
}

/** One kernel's rate, beside a loop that only reads. */
export interface KernelRow {
  readonly kernel: "linear" | "read loop";
  /** Null for the read loop. */
  readonly dtype: DType | null;
  readonly shape: string;
  readonly threads: number;
  /** The best pass. */
  readonly ms: number;
  /** Weight bytes, 10^9 a second. */
  readonly gbPerSec: number;
  /** Weights, 10^9 a second; 0 for the read loop. */
  readonly gweightsPerSec: number;
  /** The read loop on as many threads, beside this row. */
  readonly ceilingGbPerSec: number;
  /** `gbPerSec / ceilingGbPerSec`. */
  readonly share: number;
}

/** Everything of a row that takes part in timing. */
interface Bench {
  readonly pool: ComputePool;
  readonly arena: Arena;
  readonly weights: Ptr;
  readonly weightBytes: number;
  readonly signal: AbortSignal | undefined;
  readonly leastMs: number;
}

/**
 * Rows for one thread, then for `threads`.
 *
 * @throws {ConformanceFailure} instead of giving numbers, if a kernel computes something wrong.
 * @throws The signal's reason, between two passes.
 * Cost: some 0.5 s a type for each number of threads, blocking in passes of about 20 ms; memory for the weights.
 */
export async function measureKernels(options: MeasureKernelsOptions): Promise<KernelRow[]> {
  const { threads, onRow, signal, dtypes = PLAIN_DTYPES } = options;
  const weightBytes = (options.weightMiB ?? WEIGHT_BYTES / MiB) * MiB;
  const rows: KernelRow[] = [];
  // Vectors and outputs are f32 `[cols]` and `[rows]`; they are few beside what the check needs.
  const arena = new Arena(weightBytes + (8 * weightBytes) / COLS + CONFORMANCE_ARENA_BYTES, true);
  await checkKernels(arena, threads, signal);
  const weights = arena.allocate(weightBytes + 64, 4096);
  fillWeights(arena.u32(weights, weightBytes / 4));
  for (const count of threads === 1 ? [1] : [1, threads]) {
    const pool = await startPool({ threads: count });
    try {
      const bench: Bench = { pool, arena, weights, weightBytes, signal, leastMs: options.leastMs ?? LEAST_MS };
      for (const dtype of [null, ...dtypes]) {
        const row = await measureRow(bench, dtype);
        rows.push(row);
        onRow?.(row);
      }
    } finally {
      await pool.close();
    }
  }
  return rows;
}

/** Time from publishing an empty op to its end, microseconds: what splitting an op costs when all threads are awake. */
export async function measureHandOffUs(threads: number): Promise<number> {
  const pool = await startPool({ threads, spinUs: 1000 }, { leastWork: 0 });
  try {
    const arena = new Arena(4 * MiB, true);
    const kernels = pool.kernels(arena);
    const ptr = arena.allocate(64 * 16 * threads, 64);
    // One slot of no bytes would not be split: one line for each thread to read.
    const slots = arena.allocate(4 * threads, 64);
    const run = () => kernels.crc32cSlots(ptr, ptr, 0, 1, slots, threads);
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 50; round++) {
      const begin = performance.now();
      for (let i = 0; i < 200; i++) run();
      best = Math.min(best, (performance.now() - begin) / 200);
    }
    return best * 1000;
  } finally {
    await pool.close();
  }
}

async function checkKernels(arena: Arena, threads: number, signal: AbortSignal | undefined): Promise<void> {
  const pool = await startPool({ threads }, { leastWork: 0 });
  try {
    const kernels = pool.kernels(arena);
    for (const c of conformanceCases) {
      signal?.throwIfAborted();
      runConformanceCase(kernels, c);
      await eventLoopTurn();
    }
  } finally {
    await pool.close();
  }
}

/** Small numbers of either sign that are normal in every dtype. */
function fillWeights(words: Uint32Array): void {
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = (state & 0x83ff83ff) | 0x38003800;
  }
}

async function measureRow(bench: Bench, dtype: DType | null): Promise<KernelRow> {
  const { pool, arena, weights, weightBytes, signal, leastMs } = bench;
  const mark = arena.mark();
  const read = () => pool.readLoop(arena, weights, weightBytes);
  const run = dtype === null ? read : prepareLinear(bench, dtype);
  let [best, bestRead, passes] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 0];
  try {
    for (const begin = performance.now(); passes < LEAST_PASSES || performance.now() - begin < leastMs; passes++) {
      signal?.throwIfAborted();
      bestRead = Math.min(bestRead, time(read));
      best = Math.min(best, time(run));
      // Also lets the engine put a better compiled kernel in place.
      await eventLoopTurn();
    }
  } finally {
    arena.rewind(mark);
  }
  if (dtype === null) best = bestRead = Math.min(best, bestRead);
  const rows = dtype === null ? 0 : rowsOf(dtype, weightBytes);
  const gbPerSec = (dtype === null ? weightBytes : rows * rowBytes(dtype, COLS)) / best / 1e6;
  const ceilingGbPerSec = weightBytes / bestRead / 1e6;
  const shape = dtype === null ? `${weightBytes / MiB} MiB` : `[${rows}, ${COLS}]`;
  return {
    kernel: dtype === null ? "read loop" : "linear",
    dtype,
    shape,
    threads: pool.threads,
    ms: best,
    gbPerSec,
    gweightsPerSec: (rows * COLS) / best / 1e6,
    ceilingGbPerSec,
    share: gbPerSec / ceilingGbPerSec,
  };
}

function rowsOf(dtype: DType, weightBytes: number): number {
  return Math.floor(weightBytes / rowBytes(dtype, COLS));
}

function prepareLinear({ pool, arena, weights, weightBytes }: Bench, dtype: DType): () => void {
  const kernels = pool.kernels(arena);
  const rows = rowsOf(dtype, weightBytes);
  const scales = dtype === "int8" ? arena.allocate(4 * rows) : 0;
  const [x, out] = [arena.allocate(4 * COLS), arena.allocate(4 * rows)];
  arena.f32(x, COLS).fill(0.5);
  const scratch = arena.allocate(kernels.scratchBytes(COLS, 1), 64);
  const matrix: Matrix = { dtype, data: weights, scales, rows, cols: COLS };
  return () => kernels.linear(out, x, matrix, 0, 1, scratch);
}

function time(run: () => void): number {
  const begin = performance.now();
  run();
  return performance.now() - begin;
}
