/** Opening a model file for reading its records: which access, how many threads, which gaps. */
import { InputError, type SourcePart } from "@flashwick/core";
import type { ThreadedReader } from "../threads/threaded-reader.js";
import { measureDevice } from "./device-tuning.js";
import type { DirectMode } from "./flash-file.js";
import { type FlashParts, openFlashParts } from "./flash-parts.js";
import { keepTuning, readKeptTuning } from "./kept-tuning.js";
import { MAX_READERS, readByThreads, type ThreadedReaderOptions } from "./threaded-file.js";

/** How {@link openFlashReader} reads. */
export interface FlashReaderOptions extends ThreadedReaderOptions {
  /** Threads, that is reads in flight; 1 … 256. Default `auto`: as the device's tuning says. */
  readonly readers?: number | "auto";
  /** Unneeded bytes that are rather read than skipped. Default `auto`, likewise. */
  readonly mergeGapBytes?: number | "auto";
  /** Past the page cache. Default `auto`: where the file system allows. */
  readonly direct?: DirectMode;
  readonly signal?: AbortSignal;
}

/** What a reader is opened with. */
interface Settings {
  readonly readers: number;
  readonly mergeGapBytes: number;
}

/** Where nothing is known of the device: most SSDs are near their best with 16 reads in flight; a page cache needs fewer threads. */
const DIRECT_DEFAULTS: Settings = { readers: 16, mergeGapBytes: 0 };
const BUFFERED_DEFAULTS: Settings = { readers: 4, mergeGapBytes: 0 };
/** Opening a smaller file is not worth a measurement, nor is a small file a fair sample of its device. */
const MEASURED_FILE_BYTES = 256 * 2 ** 20;

/**
 * Opens a file for reading records by threads of the reader's own.
 *
 * Returns before the threads are up: reading begins with those that are. With `auto`, the first opening of a file of at least
 * 256 MiB on a device measures it (about a second) and keeps the result in the user's cache folder (kept-tuning.ts).
 *
 * @param path A path, or the parts of a split model: runs are at offsets among those of all, each run within one part.
 * @throws {IoError} `IO_NOT_FOUND` or `IO_READ` when a file cannot be opened. {UnsupportedError} `direct: true` where direct
 *   reads are refused. {InputError} for numbers out of range. The signal's own reason.
 */
export async function openFlashReader(
  path: string | readonly SourcePart[],
  options: FlashReaderOptions = {},
): Promise<ThreadedReader> {
  const { readers = "auto", mergeGapBytes = "auto", signal } = options;
  signal?.throwIfAborted();
  checkRange("readers", readers, 1, MAX_READERS);
  checkRange("mergeGapBytes", mergeGapBytes, 0, 2 ** 30);
  const files = openFlashParts(path, options.direct ?? "auto");
  try {
    const auto = readers === "auto" || mergeGapBytes === "auto" ? await autoSettings(files, signal) : DIRECT_DEFAULTS;
    return readByThreads(
      files,
      readers === "auto" ? auto.readers : readers,
      mergeGapBytes === "auto" ? auto.mergeGapBytes : mergeGapBytes,
      options,
    );
  } catch (error) {
    files.close();
    throw error;
  }
}

async function autoSettings(files: FlashParts, signal: AbortSignal | undefined): Promise<Settings> {
  if (!files.direct) return BUFFERED_DEFAULTS;
  const kept = readKeptTuning({ device: files.device });
  if (kept) return kept;
  if (files.sizeBytes < MEASURED_FILE_BYTES) return DIRECT_DEFAULTS;
  const tuning = await measureDevice(files.path, { signal });
  keepTuning({ device: files.device }, tuning, new Date());
  return tuning;
}

function checkRange(what: string, value: number | "auto", least: number, most: number): void {
  if (value === "auto" || (Number.isInteger(value) && value >= least && value <= most)) return;
  throw new InputError("INPUT_INVALID", `${what} is ${value}, expected an integer from ${least} to ${most}, or "auto"`);
}
