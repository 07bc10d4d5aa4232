/**
 * Reads of a model file in the origin private file system, by the worker that computes.
 *
 * With shared memory (a page that is cross-origin isolated): workers of their own, each with a read-only handle, read straight into the arena while
 * the caller computes; a shared table carries the reads (../threads/reader-table.ts), no message does. Without: the caller reads.
 *
 * Invariants: whenever `wait` throws, no read is in flight; handles are read-only, so that several tabs run one model.
 */
import { InputError, UnsupportedError } from "@flashwick/core";
import type { FlashReader } from "../reader.js";
import { type ReaderPlatform, ThreadedReader } from "../threads/threaded-reader.js";
import { OpfsThread } from "./opfs-threads.js";
import { openHandle, type StoredFileHandle, type SyncHandle } from "./sync-handle.js";
import { SyncReader } from "./sync-reader.js";

/** Workers and gaps of a reader of the private file system. */
export interface OpfsReaderOptions {
  /**
   * Workers that read; 0: the caller. Default: 8 where memory can be shared and the file is 64 MiB or more; else 0, since a read of what lies in
   * memory anyway takes less than waking a worker.
   */
  readonly readers?: number;
  /** Unneeded bytes between two runs that are rather read than skipped. Default 16 KiB. */
  readonly mergeGapBytes?: number;
  /** How workers are made, where a bundler needs to know. Default: opfs-reader-worker.js beside this module. */
  readonly createWorker?: () => Worker;
}

const DEFAULT_READERS = 8;
const SMALL_FILE_BYTES = 64 * 2 ** 20;
const MOST_READERS = 64;
/** What a page's private file system costs an operation, about 15 us, at some 2 GB/s. */
const DEFAULT_GAP_BYTES = 16384;
const RUN_CAPACITY = 16384;
const PIECE_CAPACITY = 32768;

/**
 * @param file A file of the private file system. In a dedicated worker only: pages have no synchronous handles.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` outside a worker. {IoError} `IO_READ` where a handle cannot be had.
 */
export async function openOpfsReader(
  file: FileSystemFileHandle,
  { readers: wanted, mergeGapBytes = DEFAULT_GAP_BYTES, createWorker }: OpfsReaderOptions = {},
): Promise<FlashReader & { readonly fileBytes: number }> {
  const handle = await openHandle(file as StoredFileHandle);
  const suits = canShareMemory() && handle.getSize() >= SMALL_FILE_BYTES ? DEFAULT_READERS : 0;
  const readers = wanted ?? suits;
  if (!(Number.isInteger(readers) && readers >= 0 && readers <= MOST_READERS)) {
    handle.close();
    throw new InputError("INPUT_INVALID", `readers is ${readers}, expected an integer from 0 to ${MOST_READERS}`);
  }
  if (readers === 0) {
    const fallback = canShareMemory() ? null : "this page is not cross-origin isolated, so memory cannot be shared";
    return new SyncReader(file.name, handle, fallback, mergeGapBytes);
  }
  if (!canShareMemory()) {
    handle.close();
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${readers} reader workers need shared memory, and this page is not cross-origin isolated; send the headers ` +
        "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, or read with 0 readers",
    );
  }
  const reader = new ThreadedReader(platformOf(file, handle, createWorker), {
    readers,
    mergeGapBytes,
    tableSize: { runCapacity: RUN_CAPACITY, pieceCapacity: PIECE_CAPACITY, threads: readers },
    // The handles keep the file from being changed.
    checkMs: Number.POSITIVE_INFINITY,
  });
  try {
    await reader.grow(readers);
  } catch (error) {
    await reader.close();
    throw error;
  }
  return reader;
}

function platformOf(
  file: FileSystemFileHandle,
  handle: SyncHandle,
  createWorker: () => Worker = defaultWorker,
): ReaderPlatform {
  return {
    name: file.name,
    mode: "buffered",
    fallback: null,
    alignmentBytes: 1,
    leavesCores: false,
    fileBytes: handle.getSize(),
    advice: "import the model again",
    launch: (setup, events) => new OpfsThread(createWorker(), { ...setup, file }, events),
    threadsFor: (readers) => readers,
    checkUnchanged: () => {},
    closeFile: () => handle.close(),
  };
}

/** Whether this page may share memory between workers. */
export function canShareMemory(): boolean {
  return typeof SharedArrayBuffer === "function" && globalThis.crossOriginIsolated === true;
}

function defaultWorker(): Worker {
  return new Worker(new URL("./opfs-reader-worker.js", import.meta.url), { type: "module", name: "flash reader" });
}
