/**
 * The module's exports over several threads: six ops are split by their output, everything else runs on the calling thread.
 *
 * Invariant: no sum is ever split, so results have the same bits for any number of threads.
 */
import { DisposedError } from "@flashwick/core";
import { THREAD_SCRATCH } from "../scratch-sizes.js";
import type { WasmExports } from "../wasm-exports.js";
import { ATTENTION, CRC32C_SLOTS, FFN_DOWN, FFN_UP, FFN_UP_GATED, GATE, LINEAR, READ_LOOP } from "./control-block.js";
import type { ForkJoin } from "./fork-join.js";
import { type OutputRange, planSplit } from "./split-plan.js";

/** An arena as threads know it. */
export interface ThreadedArena {
  /** From 1 on; 0 if its memory is not shared. */
  readonly number: number;
  /** Workers have let go of it. */
  released: boolean;
}

export interface ThreadedExportsOptions {
  readonly threads: number;
  /** Multiply-adds below which an op stays on the calling thread. */
  readonly leastWork: number;
}

/** Threads write no cache line together: 16 f32 each. */
const LINE = 16;
const CHUNKS_A_THREAD = 8;
/** A down column is a piece of every record: the longer, the better it streams. */
const COLUMN_CHUNKS_A_THREAD = 1;
/** Multiply-adds of the smallest chunk worth taking, some 5 us. */
const LEAST_CHUNK_WORK = 64 * 1024;
/**
 * Every chunk prepares its vectors anew (vector.ts). Rows that could be multiplied meanwhile, by dtype code (f32, f16, bf16,
 * int8): measured at 4096 columns, 0.3 us (f16) to 1.1 us (int8), against 0.3 and 0.15 us a row.
 */
const PREPARATION_ROWS = [0, 1, 2, 8];
/** Beside blocks: 2 us, against 0.15 us a row. */
const BLOCK_PREPARATION_ROWS = 13;
/** Preparing may take a 25th of the time. */
const LEAST_ROWS_A_PREPARATION = 25;
/** Of an element of `gate`, in multiply-adds: an exponential, a division, and what is around them. */
const GATE_WORK = 8;
const READ_UNIT_BYTES = 64;

/** @throws {DisposedError} from ops that are split, once the arena is released. */
export function threadedExports(
  wasm: WasmExports,
  forkJoin: ForkJoin,
  arena: ThreadedArena,
  { threads, leastWork }: ThreadedExportsOptions,
): WasmExports {
  const { scratchBytes, gatedScratchBytes, attentionScratchBytes } = THREAD_SCRATCH;
  const leastChunkWork = Math.min(leastWork, LEAST_CHUNK_WORK);
  /** True if the op was split and is done. */
  const split = (op: number, range: OutputRange, operands: number[], scratch = 0, scratchStride = 0): boolean => {
    const plan = planSplit(range, threads, leastWork);
    if (plan === null) return false;
    if (arena.released) throw new DisposedError("the arena");
    const { begin, end } = range;
    forkJoin.run(wasm, { op, arena: arena.number, begin, end, scratch, scratchStride, arguments: operands }, plan);
    return true;
  };

  /** Rows or neurons, each `workEach` multiply-adds. */
  const rows = (begin: number, end: number, dtype: number, workEach: number): OutputRange => {
    const prepared = (PREPARATION_ROWS[dtype] ?? BLOCK_PREPARATION_ROWS) * LEAST_ROWS_A_PREPARATION;
    const leastChunk = Math.max(prepared, leastChunkWork / workEach);
    return { begin, end, unit: LINE, workEach, chunksAThread: CHUNKS_A_THREAD, leastChunk };
  };
  /** Whatever costs nothing by the chunk. */
  const pieces = (begin: number, end: number, unit: number, workEach: number): OutputRange => {
    return { begin, end, unit, workEach, chunksAThread: CHUNKS_A_THREAD, leastChunk: leastChunkWork / workEach };
  };

  return {
    ...wasm,
    linear(out, x, dtype, data, scales, nRows, cols, bias, nTokens, scratch, begin, end) {
      const range = rows(begin, end, dtype, cols * nTokens);
      const operands = [out, x, dtype, data, scales, nRows, cols, bias, nTokens];
      if (split(LINEAR, range, operands, scratch, scratchBytes(cols, nTokens))) return;
      wasm.linear(out, x, dtype, data, scales, nRows, cols, bias, nTokens, scratch, begin, end);
    },
    ffnUp(act, x, dtype, up, stride, scales, dModel, bias, slots, n, nTokens, kind, threshold, scratch, begin, end) {
      const range = rows(begin, end, dtype, dModel * nTokens);
      const operands = [act, x, dtype, up, stride, scales, dModel, bias, slots, n, nTokens, kind, threshold];
      if (split(FFN_UP, range, operands, scratch, scratchBytes(dModel, nTokens))) return;
      wasm.ffnUp(
        act,
        x,
        dtype,
        up,
        stride,
        scales,
        dModel,
        bias,
        slots,
        n,
        nTokens,
        kind,
        threshold,
        scratch,
        begin,
        end,
      );
    },
    // biome-ignore format: one line a group of operands
    ffnUpGated(
      act, x, dtype, gate, up, stride, scales, dModel, gateBias, bias, slots, n, nTokens, kind, threshold, upRelu,
      scratch, begin, end,
    ) {
      const range = rows(begin, end, dtype, 2 * dModel * nTokens);
      const neurons = [dtype, gate, up, stride, scales, dModel, gateBias, bias, slots, n];
      const operands = [act, x, ...neurons, nTokens, kind, threshold, upRelu];
      if (split(FFN_UP_GATED, range, operands, scratch, gatedScratchBytes(dModel, nTokens))) return;
      wasm.ffnUpGated(
        act, x, dtype, gate, up, stride, scales, dModel, gateBias, bias, slots, n, nTokens, kind, threshold, upRelu,
        scratch, begin, end,
      );
    },
    ffnDown(out, act, dtype, down, stride, scales, dModel, slots, n, nTokens, begin, end) {
      const columns = pieces(begin, end, LINE, n * nTokens);
      const range = { ...columns, chunksAThread: COLUMN_CHUNKS_A_THREAD };
      const operands = [out, act, dtype, down, stride, scales, dModel, slots, n, nTokens];
      if (split(FFN_DOWN, range, operands)) return;
      wasm.ffnDown(out, act, dtype, down, stride, scales, dModel, slots, n, nTokens, begin, end);
    },
    gate(act, gate, up, count, kind, threshold, upRelu) {
      const range = pieces(0, count, LINE, GATE_WORK);
      if (split(GATE, range, [act, gate, up, kind, threshold, upRelu])) return;
      wasm.gate(act, gate, up, count, kind, threshold, upRelu);
    },
    // biome-ignore format: one line a group of operands
    attention(
      out, q, dtype, pages, offset, nKvHeads, headDim, nHeads, scale, slopes, window, sinks, position, nTokens, scratch,
      begin, end,
    ) {
      const keys = Math.min(position + nTokens, window === 0 ? Number.POSITIVE_INFINITY : window + nTokens);
      const range = pieces(begin, end, 1, 2 * headDim * nTokens * keys);
      const cache = [dtype, pages, offset, nKvHeads, headDim];
      const operands = [out, q, ...cache, nHeads, scale, slopes, window, sinks, position, nTokens];
      // Threads need room for the positions that there are, at most what the caller's scratch was sized for.
      if (split(ATTENTION, range, operands, scratch, attentionScratchBytes(position + nTokens))) return;
      wasm.attention(
        out, q, dtype, pages, offset, nKvHeads, headDim, nHeads, scale, slopes, window, sinks, position, nTokens, scratch,
        begin, end,
      );
    },
    crc32cSlots(out, base, strideBytes, sizeBytes, slots, begin, end) {
      // A byte takes as long as a multiply-add, within a factor of two.
      const range = pieces(begin, end, 1, sizeBytes);
      if (split(CRC32C_SLOTS, range, [out, base, strideBytes, sizeBytes, slots])) return;
      wasm.crc32cSlots(out, base, strideBytes, sizeBytes, slots, begin, end);
    },
    readLoop(ptr, sizeBytes) {
      const range = pieces(0, sizeBytes, READ_UNIT_BYTES, 1);
      return split(READ_LOOP, range, [ptr]) ? 0 : wasm.readLoop(ptr, sizeBytes);
    },
  };
}
