/**
 * What the reads of layers cost that stream whole, chunk by chunk (stream-reads.ts), in one pass:
 *
 *     T = Σ over chunks [ exposed(chunk's reads beside what is computed between the chunk before and it) ]
 *
 * One chunk is in flight at a time. It is begun when the one before has landed, so that it flies while that one is computed, and, if it is the first of
 * its layer, the resident layers in between. The first chunk of a pass is begun when it is wanted, and nothing is in flight during what comes before
 * it and after the last: resident layers hide no more than one chunk.
 */
import type { FlashProfile } from "./device-profile.js";
import { exposedReadMs } from "./exposed-reads.js";
import type { RowStream } from "./model-shape.js";
import type { TokenRequest } from "./pass-request.js";
import { batchMs, bufferedReadMs, pointsBytesPerSec, readBytesPerSec } from "./read-time.js";
import { chunkParts, chunkReadBytes, cutRows, LONGEST_CHUNK_BYTES, streamReadBytes } from "./stream-reads.js";

export interface RowStreamCost {
  readonly bytes: number;
  readonly reads: number;
  /** Reads in flight. */
  readonly readMs: number;
  /** Of it, what nothing is computed in. */
  readonly exposedMs: number;
}

/** A chunk on its way. */
interface ChunkReads {
  readonly bytes: number;
  readonly reads: number;
  /** Of its layer's bytes, and so of its arithmetic. */
  readonly share: number;
}

/** Of a chunk, bytes that it has room for. */
function areaBytes({ streamNeurons = 0 }: TokenRequest, { bytesPerNeuron }: RowStream): number {
  return streamNeurons * bytesPerNeuron || LONGEST_CHUNK_BYTES;
}

/**
 * Expected cost of a pass's reads.
 *
 * @param layerMs Arithmetic of one layer, attention and FFN.
 * @param ahead   Whether the next chunk flies while one is computed.
 */
export function rowStreamCost(
  request: TokenRequest,
  stream: RowStream,
  layerMs: number,
  ahead: boolean,
): RowStreamCost {
  const { flash } = request.profile;
  const sum = { bytes: 0, reads: 0, readMs: 0, exposedMs: 0 };
  // Of what was computed since the chunk that is wanted next was begun; null: none is in flight.
  let meanwhileMs: number | null = null;
  for (const [layer, { neurons }] of stream.layers.entries()) {
    if (request.slotsByLayer[layer]! >= neurons) {
      if (meanwhileMs !== null) meanwhileMs += layerMs;
      continue;
    }
    for (const chunk of layerChunks(request, stream, layer)) {
      const readMs = chunkMs(request, stream, chunk);
      sum.bytes += chunk.bytes;
      sum.reads += chunk.reads;
      sum.readMs += readMs;
      sum.exposedMs += meanwhileMs === null ? readMs : exposedReadMs(flash.stream ?? flash, readMs, meanwhileMs);
      if (ahead) meanwhileMs = chunk.share * layerMs;
    }
  }
  return sum;
}

function layerChunks(request: TokenRequest, stream: RowStream, layer: number): ChunkReads[] {
  const { matrices } = stream.layers[layer]!;
  const area = areaBytes(request, stream);
  const layerBytes = matrices.reduce((sum, { rows, rowBytes }) => sum + rows * rowBytes, 0);
  return cutRows(matrices, area).map((chunk) => {
    const parts = chunkParts(matrices, chunk).map(({ index, rows }) => rows * matrices[index]!.rowBytes);
    const bytes = parts.reduce((sum, part) => sum + part, 0);
    const readBytes = chunkReadBytes(parts, request.settings.readers);
    const reads = parts.reduce((sum, part) => sum + Math.ceil(part / readBytes), 0);
    return { bytes, reads, share: bytes / layerBytes };
  });
}

/** One chunk, from its start to its last read's end. */
function chunkMs(request: TokenRequest, stream: RowStream, { bytes, reads }: ChunkReads): number {
  const { settings, profile } = request;
  const { flash } = profile;
  if (settings.readers === 0) return bufferedReadMs(flash, reads, bytes);
  const inFlight = Math.max(1, Math.min(settings.readers, reads));
  const ms = (1000 * bytes) / rowBytesPerSec(flash, areaBytes(request, stream), bytes, settings.readers);
  return ms + (flash.stream ? flash.stream.chunkUs / 1000 : batchMs(flash, inFlight));
}

/**
 * Bytes a second of chunks of rows, each waited for. Of a profile that was not measured so: as random reads of that size, at most as fast as large ones
 * in sequence.
 */
function rowBytesPerSec(flash: FlashProfile, area: number, bytes: number, readers: number): number {
  const { stream, sequentialBytesPerSec } = flash;
  if (stream) return pointsBytesPerSec(stream.chunks, bytes, readers, Number.POSITIVE_INFINITY);
  const readBytes = Math.min(bytes, streamReadBytes(area, readers));
  const inFlight = Math.max(1, Math.min(readers, bytes / readBytes));
  return Math.min(sequentialBytesPerSec, readBytesPerSec(flash, readBytes, inFlight));
}

/** Bytes a second of the longest chunks: of a prompt, which streams as a token does. */
export function streamBytesPerSec(request: TokenRequest, stream: RowStream): number {
  const area = areaBytes(request, stream);
  return rowBytesPerSec(request.profile.flash, area, area, Math.max(1, request.settings.readers));
}
