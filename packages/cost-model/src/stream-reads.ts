/** How a stream is cut into chunks and reads: what the engine does, and what its cost is reckoned by. */

/** Large enough for the device's full bandwidth, and small beside a layer. */
export const LONGEST_CHUNK_BYTES = 8 * 2 ** 20;
/** Of one read: long enough for a device's full rate if there are readers for all of a chunk, and no shorter than they are worth. */
export const MOST_STREAM_READ_BYTES = 2 ** 20;
const LEAST_STREAM_READ_BYTES = 128 * 1024;

/** Bytes of a read of a chunk of matrix rows, so that all readers work at it at once. */
export function streamReadBytes(chunkBytes: number, readers: number): number {
  const fair = chunkBytes / Math.max(1, readers);
  return Math.max(LEAST_STREAM_READ_BYTES, Math.min(MOST_STREAM_READ_BYTES, fair));
}

/** Of one read of an expert: a longer piece is read by several readers. */
export const LONGEST_EXPERT_READ_BYTES = 4 * 2 ** 20;
