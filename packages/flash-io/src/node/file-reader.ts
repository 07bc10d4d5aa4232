/**
 * Buffered positional reads on the calling thread: works on every platform and file system that Node knows.
 *
 * Invariant: after `start` returns or throws, no read is in flight.
 */
import { closeSync, openSync, readSync, readvSync } from "node:fs";
import { DisposedError, IoError, isFlashwickError, partAt, type SourcePart, truncatedError } from "@flashwick/core";
import type { FlashReader } from "../reader.js";
import { checkRunIndices } from "../run-indices.js";
import type { FlashRun, RunPiece } from "../run-plan.js";

/** The system calls that a reader needs; given by tests to inject failures. */
export interface PositionalReads {
  /** Opens a file for reading; returns its descriptor. */
  open(path: string): number;
  /** Reads into one range of a memory; returns how many bytes came. */
  read(fd: number, into: Uint8Array, at: number, sizeBytes: number, offset: number): number;
  /** Reads into several ranges at once; returns how many bytes came. */
  readv(fd: number, into: readonly Uint8Array[], offset: number): number;
  /** Closes the file. */
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

/** An open file, and the offset of runs at which it begins. */
interface OpenPart {
  readonly path: string;
  readonly begin: number;
  readonly fd: number;
}

/**
 * Opens a file for reading records with plain positional reads through the page cache.
 *
 * @param files A path, or the parts of a split model: runs are at offsets among those of all, each run within one part.
 * @throws {IoError} `IO_NOT_FOUND` or `IO_READ` when a file cannot be opened.
 */
export function openFileReader(files: string | readonly SourcePart[], reads: PositionalReads = nodeReads): FlashReader {
  const parts = openAll(typeof files === "string" ? [{ name: files, begin: 0 }] : files, reads);
  const { path } = parts[0]!;
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
        readRun(reads, partAt(parts, run.offset), memory, run);
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
      for (const { fd } of parts) reads.close(fd);
    },
  };
}

function openAll(files: readonly Pick<SourcePart, "name" | "begin">[], reads: PositionalReads): readonly OpenPart[] {
  const opened: OpenPart[] = [];
  try {
    for (const { name: path, begin } of files) opened.push({ path, begin, fd: openPart(path, reads) });
    return opened;
  } catch (error) {
    for (const { fd } of opened) reads.close(fd);
    throw error;
  }
}

function openPart(path: string, reads: PositionalReads): number {
  try {
    return reads.open(path);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new IoError(missing ? "IO_NOT_FOUND" : "IO_READ", `${path}: cannot be opened (${(cause as Error).message})`, {
      cause,
    });
  }
}

function readRun(reads: PositionalReads, { path, begin, fd }: OpenPart, memory: Uint8Array, run: FlashRun): void {
  const first = run.offset - begin;
  try {
    const isScattered = run.pieces.length > 1 && run.pieces.length <= MAX_PIECES;
    if (isScattered && readScattered(reads, fd, memory, run, first)) return;
    let offset = first;
    for (const piece of run.pieces) {
      const got = readPiece(reads, fd, memory, piece, offset);
      offset += got;
      if (got < piece.sizeBytes) throw truncatedError(path, first, run.sizeBytes, offset);
    }
  } catch (cause) {
    if (isFlashwickError(cause)) throw cause;
    throw new IoError(
      "IO_READ",
      `${path} @ ${first}: reading ${run.sizeBytes} bytes failed (${(cause as Error).message}); check the device`,
      { details: { offset: first, sizeBytes: run.sizeBytes }, cause },
    );
  }
}

/** One vectored read; false when it came back short (then the pieces are read one by one). */
function readScattered(reads: PositionalReads, fd: number, memory: Uint8Array, run: FlashRun, offset: number): boolean {
  const views = run.pieces.map((piece) => memory.subarray(piece.ptr, piece.ptr + piece.sizeBytes));
  return reads.readv(fd, views, offset) === run.sizeBytes;
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
