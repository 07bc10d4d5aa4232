/**
 * Rows of matrices that pass through a stage: where in an area each matrix's rows of a chunk lie, and the reads that bring them. Pure. How a layer is
 * cut into chunks the cost model knows (its stream-reads.ts), since it prices them.
 *
 * Files of llama.cpp align matrices to 32 bytes, and devices want whole sectors. So reads are widened to those (of a device with larger ones, what lies
 * across is copied by its reader), and rows lie as far behind the beginning of a sector as in the file: what is read lands in place, and the kernel begins where the row begins.
 */
import { assert, type ByteSource, rowBytes } from "@flashwick/core";
import {
  chunkParts,
  chunkReadBytes,
  cutRows,
  type MatrixRows,
  ROWS_TAIL_BYTES,
  type RowChunk,
  SECTOR_BYTES,
  stagedBytes,
} from "@flashwick/cost-model";
import {
  type ByMatrix,
  type MatrixName,
  type MatrixTensors,
  mapMatrices,
  matricesInOrder,
} from "@flashwick/flash-format";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import { type Matrix, type Ptr, TAIL_BYTES } from "@flashwick/kernels";
import { widenedReads } from "./widened-reads.js";

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
}

/** A chunk may be at least so long, or as its layer: every chunk is waited for once. */
const LEAST_CHUNK_BYTES = 1024 * 1024;

const roundUp = (n: number, unit: number) => Math.ceil(n / unit) * unit;

/** A layer's matrices as its stream sees them, in the order in which they are used. */
export function matrixRows(tensors: MatrixTensors): MatrixRows[] {
  return matricesInOrder(tensors).map(([, { dtype, rows, cols }]) => ({ rows, rowBytes: rowBytes(dtype, cols) }));
}

/** Bytes of the least area that a layer passes through: for its longest row, and for reads that are worth waiting for. */
export function leastAreaBytes(tensors: MatrixTensors): number {
  const all = matrixRows(tensors);
  const whole = all.reduce((sum, matrix) => sum + stagedBytes(matrix, matrix.rows), 0);
  return Math.max(...all.map((matrix) => stagedBytes(matrix, 1)), Math.min(LEAST_CHUNK_BYTES, whole));
}

/** The rows of a layer in chunks that fill an area. */
export function layerChunks(tensors: MatrixTensors, areaBytes: number): RowChunk[] {
  return cutRows(matrixRows(tensors), areaBytes);
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

/** Where the rows of a chunk go, part by part, and the reads that bring them. @param area Where the area begins that `layerChunks` cut the layer for. */
export function stageChunk(tensors: MatrixTensors, chunk: RowChunk, area: Ptr, reads: StageReads): StagedChunk {
  assert(TAIL_BYTES <= ROWS_TAIL_BYTES, "an area has room for what kernels read behind rows");
  const parts: StagedRows[] = [];
  const runs: FlashRun[] = [];
  const matrices = matricesInOrder(tensors);
  const all = matrixRows(tensors);
  const chunked = chunkParts(all, chunk);
  const partBytes = chunked.map(({ index, rows }) => rows * all[index]!.rowBytes);
  const mostBytes = chunkReadBytes(partBytes, reads.reader.readers);
  let next = area;
  for (const { index, first, rows } of chunked) {
    const [name, tensor] = matrices[index]!;
    const { dtype, cols } = tensor;
    const eachBytes = rowBytes(dtype, cols);
    const begin = tensor.offset + first * eachBytes;
    const end = begin + rows * eachBytes;
    const ptr = roundUp(next, SECTOR_BYTES) + (begin % SECTOR_BYTES);
    const data = ptr - first * eachBytes;
    parts.push({ name, first, end: first + rows, matrix: { dtype, data, scales: 0, rows: tensor.rows, cols } });
    runs.push(...widenedReads(begin, end, ptr, { ...reads, mostBytes }));
    next = Math.max(ptr + end - begin + TAIL_BYTES, roundUp(ptr + end - begin, SECTOR_BYTES));
  }
  return { parts, runs, ptr: area, sizeBytes: next - area };
}
