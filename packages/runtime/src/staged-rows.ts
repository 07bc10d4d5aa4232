/**
 * Rows of matrices that pass through a stage: which chunks a layer is cut into, where in an area each matrix's rows lie, and the reads that bring
 * them. Pure.
 *
 * Files of llama.cpp align matrices to 32 bytes, and devices want whole sectors. So reads are widened to those, and rows lie as far behind the
 * beginning of a sector as in the file: what is read lands in place, and the kernel begins where the row begins.
 */
import { assert, type ByteSource, rowBytes } from "@flashwick/core";
import { streamReadBytes } from "@flashwick/cost-model";
import {
  type ByMatrix,
  type MatrixName,
  type MatrixTensors,
  mapMatrices,
  matricesInOrder,
  type ResidentTensor,
} from "@flashwick/flash-format";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import { type Matrix, type Ptr, TAIL_BYTES } from "@flashwick/kernels";
import type { StreamChunk } from "./layer-stream.js";
import { SECTOR_BYTES, widenedReads } from "./widened-reads.js";

/** Rows of one matrix in the stage: `first` up to `end`. */
export interface StagedRows {
  readonly name: MatrixName;
  readonly first: number;
  readonly end: number;
  /** The whole matrix as if all of it were there. It begins before the stage, or even before the arena: only rows of the range are read. */
  readonly matrix: Matrix;
}

/** A chunk in the stage: rows of one matrix, or of several that follow each other. */
export interface StagedChunk {
  readonly parts: readonly StagedRows[];
  readonly runs: readonly FlashRun[];
  /** Where it lies. */
  readonly ptr: Ptr;
  readonly sizeBytes: number;
}

/** What reads depend on. */
export interface StageReads {
  readonly source: Pick<ByteSource, "sizeBytes" | "parts">;
  readonly reader: Pick<FlashReader, "alignmentBytes" | "readers">;
  readonly areaBytes: number;
}

/** Of rows in an area: up to a sector before them begins, from there to them, and behind them what kernels may read, or the rest of a sector. */
const PART_OVERHEAD_BYTES = TAIL_BYTES + 3 * SECTOR_BYTES;
/** A chunk may be at least so long, or as its layer: every chunk is waited for once. */
const LEAST_CHUNK_BYTES = 1024 * 1024;

const roundUp = (n: number, unit: number) => Math.ceil(n / unit) * unit;

function bytesOfRow({ dtype, cols }: ResidentTensor): number {
  return rowBytes(dtype, cols);
}

/** Bytes that rows of a matrix take in an area, at most. */
function partBytes(tensor: ResidentTensor, rows: number): number {
  return rows * bytesOfRow(tensor) + PART_OVERHEAD_BYTES;
}

/** Bytes of the least area that a layer passes through: for its longest row, and for reads that are worth waiting for. */
export function leastAreaBytes(tensors: MatrixTensors): number {
  const all = matricesInOrder(tensors).map(([, tensor]) => tensor);
  const whole = all.reduce((sum, tensor) => sum + partBytes(tensor, tensor.rows), 0);
  return Math.max(...all.map((tensor) => partBytes(tensor, 1)), Math.min(LEAST_CHUNK_BYTES, whole));
}

/** The rows of all matrices, numbered on from one to the next, in chunks that fill an area. */
export function cutRows(tensors: MatrixTensors, areaBytes: number): StreamChunk[] {
  const chunks: StreamChunk[] = [];
  let [begin, next, room] = [0, 0, areaBytes];
  for (const [, tensor] of matricesInOrder(tensors)) {
    for (let left = tensor.rows; left > 0; ) {
      const count = Math.min(left, Math.floor((room - PART_OVERHEAD_BYTES) / bytesOfRow(tensor)));
      if (count > 0) {
        left -= count;
        next += count;
        room -= partBytes(tensor, count);
      }
      if (left === 0) break;
      assert(next > begin, "an area holds a row");
      chunks.push({ first: begin, count: next - begin });
      [begin, room] = [next, areaBytes];
    }
  }
  return [...chunks, { first: begin, count: next - begin }];
}

/** By matrix, the number of its first row: how many the matrices before it have. */
export function rowBases(tensors: MatrixTensors): ByMatrix<number> {
  let next = 0;
  return mapMatrices(tensors, ({ rows }) => {
    const base = next;
    next += rows;
    return base;
  });
}

/** Where the rows of a chunk go, part by part, and the reads that bring them. @param area Of `reads.areaBytes`. */
export function stageChunk(tensors: MatrixTensors, chunk: StreamChunk, area: Ptr, reads: StageReads): StagedChunk {
  const parts: StagedRows[] = [];
  const runs: FlashRun[] = [];
  const mostBytes = roundUp(streamReadBytes(reads.areaBytes, reads.reader.readers), SECTOR_BYTES);
  let next = area;
  let base = 0;
  for (const [name, tensor] of matricesInOrder(tensors)) {
    const first = Math.max(0, chunk.first - base);
    const rows = Math.min(tensor.rows, chunk.first + chunk.count - base) - first;
    base += tensor.rows;
    if (rows <= 0) continue;
    const { dtype, cols, rows: all } = tensor;
    const begin = tensor.offset + first * bytesOfRow(tensor);
    const end = begin + rows * bytesOfRow(tensor);
    const ptr = roundUp(next, SECTOR_BYTES) + (begin % SECTOR_BYTES);
    const data = ptr - first * bytesOfRow(tensor);
    parts.push({ name, first, end: first + rows, matrix: { dtype, data, scales: 0, rows: all, cols } });
    runs.push(...widenedReads(begin, end, ptr, { ...reads, mostBytes }));
    next = Math.max(ptr + end - begin + TAIL_BYTES, roundUp(ptr + end - begin, SECTOR_BYTES));
  }
  return { parts, runs, ptr: area, sizeBytes: next - area };
}
