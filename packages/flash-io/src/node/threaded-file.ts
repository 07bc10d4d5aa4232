/** A reader over threads of Node's: one open file or several, read past the page cache where that is possible. */
import { type ReaderPlatform, ThreadedReader } from "../threads/threaded-reader.js";
import type { FlashParts } from "./flash-parts.js";
import { type CreateWorker, createReaderWorker, NodeThread } from "./node-threads.js";

/** How a threaded reader works inside; the defaults suit every use but tests. */
export interface ThreadedReaderOptions {
  /**
   * One thread with the kernel's submission ring instead of a thread a read. Default: where Node offers it ({@link hasRing}) and reads
   * are direct.
   */
  readonly ring?: boolean;
  /** For tests: every read first sleeps a pseudo-random time up to this. Default 0. */
  readonly jitterUs?: number;
  /** For tests: how threads are made. */
  readonly createWorker?: CreateWorker;
  /** How often `start` asks whether the file is still the same. Default 500. */
  readonly checkMs?: number;
  /** Runs and pieces in flight, powers of two. Longer batches go in portions, from `wait`. */
  readonly runCapacity?: number;
  readonly pieceCapacity?: number;
}

/** More threads than this queue for the cores, not for the device. */
export const MAX_READERS = 256;
const RUN_CAPACITY = 32768;
const PIECE_CAPACITY = 65536;
const CHECK_MS = 500;

/**
 * A reader over open files, which it closes, with settled numbers; `openFlashReader` (flash-reader.ts) settles them. Returns before
 * its threads are ready: reading begins with those that are.
 *
 * @param readers Reads in flight, 1 … {@link MAX_READERS}.
 */
export function readByThreads(
  files: FlashParts,
  readers: number,
  mergeGapBytes: number,
  options: ThreadedReaderOptions = {},
): ThreadedReader {
  const { runCapacity = RUN_CAPACITY, pieceCapacity = PIECE_CAPACITY, checkMs = CHECK_MS } = options;
  return new ThreadedReader(platformOf(files, options), {
    readers,
    mergeGapBytes,
    tableSize: { runCapacity, pieceCapacity, threads: MAX_READERS },
    checkMs,
  });
}

function platformOf(files: FlashParts, options: ThreadedReaderOptions): ReaderPlatform {
  const { alignmentBytes, direct, fallback, threadFiles } = files;
  const { jitterUs = 0, createWorker = createReaderWorker, ring = hasRing() && direct } = options;
  return {
    name: files.path,
    mode: direct ? "direct" : "buffered",
    fallback,
    alignmentBytes,
    leavesCores: ring,
    fileBytes: files.sizeBytes,
    advice: "check the device",
    launch: (setup, events) =>
      new NodeThread(createWorker({ ...setup, files: threadFiles, alignmentBytes, jitterUs, ring }), events),
    threadsFor: (readers) => (ring ? 1 : readers),
    placeOf: (offset) => files.placeOf(offset),
    checkUnchanged: () => files.checkUnchanged(),
    closeFile: () => files.close(),
  };
}

/**
 * Whether Node reads through io_uring here: where libuv does so when the process was started with UV_USE_IO_URING=1. Node 20 ships
 * such a libuv and leaves it off unless asked, since a process that gives up privileges keeps a ring's (CVE-2024-22017); later
 * ones want another flag, which Node does not set. To be looked at again when Node has a way to ask for it.
 */
export function hasRing(): boolean {
  const [major = 0, minor = 0] = (process.versions.uv ?? "").split(".").map(Number);
  const offers = process.platform === "linux" && major === 1 && minor >= 45 && minor <= 48;
  return offers && process.env.UV_USE_IO_URING === "1";
}
