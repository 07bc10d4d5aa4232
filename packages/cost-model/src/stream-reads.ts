/** How a stream is cut into chunks and reads: what the engine does, and what its cost is reckoned by. */
import { assert } from "@flashwick/core";

/** Large enough for the device's full bandwidth, and small beside a layer. */
export const LONGEST_CHUNK_BYTES = 8 * 2 ** 20;
/** Of one read: long enough for a device's full rate if there are readers for all of a chunk, and no shorter than they are worth. */
export const MOST_STREAM_READ_BYTES = 2 ** 20;
export const LEAST_STREAM_READ_BYTES = 128 * 1024;

/** Sectors that reads of rows are widened to. */
export const SECTOR_BYTES = 512;
/** Behind rows in an area: what kernels may read beyond their end. */
export const ROWS_TAIL_BYTES = 64;
/** Of rows in an area: up to a sector before them begins, from there to them, and behind them their tail, or the rest of a sector. */
const PART_OVERHEAD_BYTES = ROWS_TAIL_BYTES + 3 * SECTOR_BYTES;

/** Bytes of each read of a chunk that lies in one piece, so that all readers work at it at once. */
export function streamReadBytes(chunkBytes: number, readers: number): number {
  const fair = chunkBytes / Math.max(1, readers);
  return Math.max(LEAST_STREAM_READ_BYTES, Math.min(MOST_STREAM_READ_BYTES, fair));
}

/**
 * Bytes of the longest read of a chunk that lies in several pieces, a multiple of the sector. Pieces rarely come out even, and what remains of each is a
 * read of its own: with a few more reads than readers the last ones would wait for a second round. Longer reads, up to twice as long, are one for each reader.
 *
 * @param partBytes Of the pieces: rows of one matrix each.
 */
export function chunkReadBytes(partBytes: readonly number[], readers: number): number {
  // Widened to whole sectors on both sides.
  const parts = partBytes.map((bytes) => bytes + 2 * SECTOR_BYTES);
  const fair = wholeSectors(
    streamReadBytes(
      partBytes.reduce((sum, bytes) => sum + bytes, 0),
      readers,
    ),
  );
  const countReads = (bytes: number) => parts.reduce((sum, part) => sum + Math.ceil(part / bytes), 0);
  for (let bytes = fair; bytes <= 2 * fair; bytes = nextReadBytes(parts, bytes)) {
    if (countReads(bytes) <= readers) return bytes;
  }
  return fair;
}

/** The least that saves a read. */
function nextReadBytes(parts: readonly number[], bytes: number): number {
  const fewer = parts.filter((part) => part > bytes).map((part) => part / (Math.ceil(part / bytes) - 1));
  return wholeSectors(Math.min(...fewer));
}

function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}

/** A matrix as a stream sees it. */
export interface MatrixRows {
  readonly rows: number;
  readonly rowBytes: number;
}

/** Rows `first` … `first + count − 1` of a layer's matrices, numbered on from one matrix to the next. */
export interface RowChunk {
  readonly first: number;
  readonly count: number;
}

/** Rows of one matrix, as a part of a chunk. */
export interface ChunkPart {
  /** Of the matrix among its layer's. */
  readonly index: number;
  /** Of the matrix' own rows. */
  readonly first: number;
  readonly rows: number;
}

/** Bytes that rows of a matrix take in an area, at most. */
export function stagedBytes({ rowBytes }: MatrixRows, rows: number): number {
  return rows * rowBytes + PART_OVERHEAD_BYTES;
}

/** Cuts the rows of a layer's matrices into chunks that fill an area. @param areaBytes Room for the longest row at least. */
export function cutRows(matrices: readonly MatrixRows[], areaBytes: number): RowChunk[] {
  const chunks: RowChunk[] = [];
  let [begin, next, room] = [0, 0, areaBytes];
  for (const matrix of matrices) {
    for (let left = matrix.rows; left > 0; ) {
      const count = Math.min(left, Math.floor((room - PART_OVERHEAD_BYTES) / matrix.rowBytes));
      if (count > 0) {
        left -= count;
        next += count;
        room -= stagedBytes(matrix, count);
      }
      if (left === 0) break;
      assert(next > begin, "an area holds a row");
      chunks.push({ first: begin, count: next - begin });
      [begin, room] = [next, areaBytes];
    }
  }
  return [...chunks, { first: begin, count: next - begin }];
}

/** The matrices that a chunk has rows of. */
export function chunkParts(matrices: readonly MatrixRows[], chunk: RowChunk): ChunkPart[] {
  const parts: ChunkPart[] = [];
  let base = 0;
  for (const [index, matrix] of matrices.entries()) {
    const first = Math.max(0, chunk.first - base);
    const rows = Math.min(matrix.rows, chunk.first + chunk.count - base) - first;
    base += matrix.rows;
    if (rows > 0) parts.push({ index, first, rows });
  }
  return parts;
}

/** Of one read of an expert: a longer piece is read by several readers. */
export const LONGEST_EXPERT_READ_BYTES = 4 * 2 ** 20;
