/**
 * Buffered positional reads on the calling thread: works on every platform and file system that Node knows.
 *
 * Invariant: after `start` returns or throws, no read is in flight.
 */
import { closeSync, openSync, readSync, readvSync } from "node:fs";
import { DisposedError, IoError, isFlashwickError, truncatedError } from "@flashwick/core";
import type { FlashReader } from "../reader.js";
import { checkRunIndices } from "../run-indices.js";
import type { FlashRun, RunPiece } from "../run-plan.js";

/** The system calls that a reader needs; given by tests to inject failures. */
export interface PositionalReads {
  open(path: string): number;
  read(fd: number, into: Uint8Array, at: number, sizeBytes: number, offset: number): number;
  readv(fd: number, into: readonly Uint8Array[], offset: number): number;
  close(fd: number): void;
}

const nodeReads: PositionalReads = {
  open: (path) => openSync(path, "r"),
  read: (fd, into, at, sizeBytes, offset) => readSync(fd, into, at, sizeBytes, offset),
  readv: (fd, into, offset) => readvSync(fd, into, offset),
  close: (fd) => closeSync(fd),
};

/** `readSync` takes lengths below 2^31 only. */
const MAX_READ_BYTES = 2 ** 30;
/** IOV_MAX on Linux and macOS. */
const MAX_PIECES = 1024;

/**
 * Opens `path` for reading records with plain positional reads through the page cache.
 *
 * @throws {IoError} `IO_NOT_FOUND` or `IO_READ` when the file cannot be opened.
 */
export function openFileReader(path: string, reads: PositionalReads = nodeReads): FlashReader {
  let fd: number;
  try {
    fd = reads.open(path);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new IoError(missing ? "IO_NOT_FOUND" : "IO_READ", `${path}: cannot be opened (${(cause as Error).message})`, {
      cause,
    });
  }
  let closed = false;
  let batchRuns = 0;
  return {
    name: path,
    mode: "buffered",
    fallback: null,
    alignmentBytes: 1,
    readers: 0,
    leavesCores: false,
    mergeGapBytes: 0,
    needsSharedMemory: false,
    start(memory, runs, signal) {
      if (closed) throw new DisposedError(path);
      batchRuns = runs.length;
      for (const run of runs) {
        signal?.throwIfAborted();
        readRun(reads, fd, path, memory, run);
      }
    },
    wait() {},
    waitFor(indices) {
      checkRunIndices(path, indices, batchRuns);
    },
    release() {},
    async close() {
      if (closed) return;
      closed = true;
      reads.close(fd);
    },
  };
}

function readRun(reads: PositionalReads, fd: number, path: string, memory: Uint8Array, run: FlashRun): void {
  try {
    if (run.pieces.length > 1 && run.pieces.length <= MAX_PIECES && readScattered(reads, fd, memory, run)) return;
    let offset = run.offset;
    for (const piece of run.pieces) {
      const got = readPiece(reads, fd, memory, piece, offset);
      offset += got;
      if (got < piece.sizeBytes) throw truncatedError(path, run.offset, run.sizeBytes, offset);
    }
  } catch (cause) {
    if (isFlashwickError(cause)) throw cause;
    throw new IoError(
      "IO_READ",
      `${path} @ ${run.offset}: reading ${run.sizeBytes} bytes failed (${(cause as Error).message}); check the device`,
      { details: { offset: run.offset, sizeBytes: run.sizeBytes }, cause },
    );
  }
}

/** One vectored read; false when it came back short (then the pieces are read one by one). */
function readScattered(reads: PositionalReads, fd: number, memory: Uint8Array, run: FlashRun): boolean {
  const views = run.pieces.map((piece) => memory.subarray(piece.ptr, piece.ptr + piece.sizeBytes));
  return reads.readv(fd, views, run.offset) === run.sizeBytes;
}

/** Bytes read: fewer than the piece has where the file ends. */
function readPiece(
  reads: PositionalReads,
  fd: number,
  memory: Uint8Array,
  { ptr, sizeBytes }: RunPiece,
  offset: number,
): number {
  let done = 0;
  while (done < sizeBytes) {
    const got = reads.read(fd, memory, ptr + done, Math.min(sizeBytes - done, MAX_READ_BYTES), offset + done);
    if (got === 0) break;
    done += got;
  }
  return done;
}
