/**
 * Scratch of the module's ops, known without an instance of it. The layouts are the module's: vectors and a batch's workspace in assembly/vector.ts and
 * assembly/batch-product.ts, rows of scores in assembly/attention.ts. The conformance table notices an op that writes beyond.
 */
import { paddedLength } from "@flashwick/core";
import type { ScratchSizes } from "@flashwick/kernels";

/** Tokens from which on vectors are a batch (`isBatch`). */
const BATCH_TOKENS = 16;
/** `PANEL_ROWS` and `SUMS_BYTES` of assembly/batch-product.ts. */
const PANEL_ROWS = 16;
const SUMS_BYTES = 16 * 4 * PANEL_ROWS;
/** `GROUP_BYTES` of assembly/block-vector.ts; `TABLE_BYTES` of assembly/block-scales.ts and four outputs. */
const BLOCK_GROUP_BYTES = 80;
const BLOCK_TABLE_BYTES = 608 + 16;
/** `LEAST_BATCH` of assembly/block-product.ts: fewer vectors need no panel. */
const BLOCK_BATCH_TOKENS = 4;
/** Of assembly/block-batch.ts: `SUMS_BYTES`, `PANEL_GROUP_BYTES` and `BATCH_COLS`. */
const BLOCK_SUMS_BYTES = 256;
const BLOCK_PANEL_BYTES = 1280;
const BLOCK_PANEL_COLS = 512;
/** `GROUP_ROWS` of assembly/attention.ts: rows of scores, each with the bytes of its sum behind it. */
const GROUP_ROWS = 16;
const ROW_SUM_BYTES = 16;
/** `GATED_BLOCK` of assembly/ffn-up.ts: products of so many up rows with each vector wait for their gates. */
const GATED_BLOCK = 240;
/** Threads write no cache line together. */
const CACHE_LINE_BYTES = 64;

/** Of one thread. */
export const WASM_SCRATCH: ScratchSizes = { scratchBytes, gatedScratchBytes, attentionScratchBytes };

/** Of one of several threads: whole cache lines. */
export const THREAD_SCRATCH: ScratchSizes = {
  scratchBytes: (cols, nTokens) => roundUp(scratchBytes(cols, nTokens), CACHE_LINE_BYTES),
  gatedScratchBytes: (cols, nTokens) => roundUp(gatedScratchBytes(cols, nTokens), CACHE_LINE_BYTES),
  attentionScratchBytes: (capacityTokens) => roundUp(attentionScratchBytes(capacityTokens), CACHE_LINE_BYTES),
};

/** Of `threads` threads together, each with its own, one after the other. */
export function poolScratch(threads: number): ScratchSizes {
  if (threads === 1) return WASM_SCRATCH;
  return {
    scratchBytes: (cols, nTokens) => threads * THREAD_SCRATCH.scratchBytes(cols, nTokens),
    gatedScratchBytes: (cols, nTokens) => threads * THREAD_SCRATCH.gatedScratchBytes(cols, nTokens),
    attentionScratchBytes: (capacityTokens) => threads * THREAD_SCRATCH.attentionScratchBytes(capacityTokens),
  };
}

/** Vectors beside rows of blocks are smaller; behind them stand a table, and for several vectors a panel (assembly/block-product.ts). */
function scratchBytes(cols: number, nTokens: number): number {
  const width = paddedLength(cols);
  const blocks = nTokens * BLOCK_GROUP_BYTES * Math.ceil(cols / 32) + BLOCK_TABLE_BYTES;
  const panel =
    nTokens < BLOCK_BATCH_TOKENS
      ? 0
      : BLOCK_SUMS_BYTES + BLOCK_PANEL_BYTES * Math.ceil(Math.min(width, BLOCK_PANEL_COLS) / 32);
  return Math.max(elementScratchBytes(width, nTokens), blocks + panel);
}

/** Scales of the vectors, the vectors, and for a batch the rest of its last block and the workspace: sums and a panel of widened rows. */
function elementScratchBytes(width: number, nTokens: number): number {
  const scaleBytes = roundUp(4 * nTokens, 16);
  if (nTokens < BATCH_TOKENS) return scaleBytes + 4 * width * nTokens;
  return scaleBytes + 4 * width * roundUp(nTokens, 4) + SUMS_BYTES + 4 * width * PANEL_ROWS;
}

function gatedScratchBytes(cols: number, nTokens: number): number {
  return 4 * GATED_BLOCK * nTokens + scratchBytes(cols, nTokens);
}

function attentionScratchBytes(capacityTokens: number): number {
  return GROUP_ROWS * (4 * roundUp(capacityTokens, 4) + ROW_SUM_BYTES);
}

function roundUp(n: number, unit: number): number {
  return Math.ceil(n / unit) * unit;
}
