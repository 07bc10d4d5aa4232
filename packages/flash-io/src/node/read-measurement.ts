/**
 * The reader beside fio: the same file, sizes and depths, in turns (ours, fio, ours, fio), since other tenants of a machine and
 * of a device come and go. Each figure is the mean of its two turns. fio's reads land in a place each; so do ours.
 */
import { Random } from "@flashwick/core";
import type { ThreadedReader } from "../threads/threaded-reader.js";
import { type FioEngine, findFio, measureFio } from "./fio.js";
import { openFlashReader } from "./flash-reader.js";
import { landingMemory, measureReadRate } from "./read-rate.js";

/** One size and depth, ours beside fio's. */
export interface ReadRow {
  readonly sizeBytes: number;
  /** Reads in flight: threads of ours, queue depth of fio. */
  readonly depth: number;
  readonly mode: "direct" | "buffered";
  readonly bytesPerSec: number;
  /** Null where there is no fio. */
  readonly fioBytesPerSec: number | null;
  readonly fioEngine: FioEngine | null;
  /** Ours / fio's. */
  readonly share: number | null;
}

/** One size, each side at the depth that suits it best. */
export interface BestRow {
  readonly sizeBytes: number;
  readonly depth: number;
  readonly bytesPerSec: number;
  readonly fioDepth: number | null;
  readonly fioBytesPerSec: number | null;
  readonly share: number | null;
}

/** Which sizes and depths {@link measureReads} measures, and for how long. */
export interface MeasureReadsOptions {
  /** Default 4 KiB … 1 MiB. */
  readonly sizes?: readonly number[];
  /** Default 1 … 64. */
  readonly depths?: readonly number[];
  /** Of each of the four turns of a row. Default 1. */
  readonly secondsEach?: number;
  /** Turns of each side. Default 2. */
  readonly turns?: number;
  /** Default: libaio where fio has it. psync is what our threads do, without JavaScript. */
  readonly fioEngine?: FioEngine;
  /** Sees each row as it is measured. */
  readonly onRow?: (row: ReadRow) => void;
  readonly signal?: AbortSignal;
}

const SIZES = [4, 8, 16, 32, 64, 128, 256, 512, 1024].map((kib) => kib * 1024);
/** Each thread compiles for itself: some thousand reads each, shared cores. */
const WARM_UP_BYTES = 4096;
const WARM_UP_SECONDS_PER_READER = 0.05;
const DEPTHS = [1, 2, 4, 8, 16, 32, 64];

/**
 * Random reads of `path`, ours and fio's. Sizes beyond the file's are left out.
 *
 * @throws As {@link openFlashReader} and its reads do; the signal's own reason.
 * Cost: sizes · depths · 2 · turns · secondsEach.
 */
export async function measureReads(path: string, options: MeasureReadsOptions = {}): Promise<ReadRow[]> {
  const { sizes = SIZES, depths = DEPTHS, onRow, signal } = options;
  const found = await findFio();
  const fioEngine = found && (options.fioEngine ?? found);
  const rows: ReadRow[] = [];
  for (const depth of depths) {
    const reader = await openFlashReader(path, { readers: depth, mergeGapBytes: 0 });
    try {
      const fitting = sizes.filter((sizeBytes) => sizeBytes <= reader.fileBytes);
      // One memory for all: another one would be met by cold threads.
      const memory = landingMemory(depth, Math.max(WARM_UP_BYTES, ...fitting));
      await warmUp(reader, memory);
      for (const sizeBytes of fitting) {
        signal?.throwIfAborted();
        const row = await measureRow(reader, memory.subarray(0, depth * sizeBytes), sizeBytes, fioEngine, options);
        rows.push(row);
        onRow?.(row);
      }
    } finally {
      await reader.close();
    }
  }
  return rows;
}

/** Each size at the best depth of each side. */
export function bestRows(rows: readonly ReadRow[]): BestRow[] {
  return [...new Set(rows.map((row) => row.sizeBytes))].map((sizeBytes) => {
    const same = rows.filter((row) => row.sizeBytes === sizeBytes);
    const ours = same.reduce((a, b) => (b.bytesPerSec > a.bytesPerSec ? b : a));
    const fio = same.reduce((a, b) => ((b.fioBytesPerSec ?? 0) > (a.fioBytesPerSec ?? 0) ? b : a));
    return {
      sizeBytes,
      depth: ours.depth,
      bytesPerSec: ours.bytesPerSec,
      fioDepth: fio.fioBytesPerSec === null ? null : fio.depth,
      fioBytesPerSec: fio.fioBytesPerSec,
      share: fio.fioBytesPerSec === null ? null : ours.bytesPerSec / fio.fioBytesPerSec,
    };
  });
}

/** Brings all threads up and has their code compiled: that is not the device's time. */
async function warmUp(reader: ThreadedReader, memory: Uint8Array): Promise<void> {
  const { readers, fileBytes } = reader;
  await reader.grow(readers);
  const sizeBytes = Math.min(WARM_UP_BYTES, fileBytes);
  const seconds = WARM_UP_SECONDS_PER_READER * readers;
  await measureReadRate(reader, memory, { fileBytes, sizeBytes, seconds, random: new Random(readers) });
}

async function measureRow(
  reader: ThreadedReader,
  memory: Uint8Array,
  sizeBytes: number,
  fioEngine: FioEngine | null,
  { secondsEach = 1, turns = 2, signal }: MeasureReadsOptions,
): Promise<ReadRow> {
  const depth = reader.readers;
  const random = new Random(sizeBytes, depth);
  let ours = 0;
  let fio = 0;
  for (let turn = 0; turn < turns; turn++) {
    const load = { fileBytes: reader.fileBytes, sizeBytes, seconds: secondsEach, random, signal };
    ours += (await measureReadRate(reader, memory, load)).bytesPerSec / turns;
    if (fioEngine) {
      fio +=
        (await measureFio(fioEngine, { path: reader.name, sizeBytes, depth, seconds: secondsEach, signal })) / turns;
    }
  }
  return {
    sizeBytes,
    depth,
    mode: reader.mode,
    bytesPerSec: ours,
    fioBytesPerSec: fioEngine ? fio : null,
    fioEngine,
    share: fioEngine ? ours / fio : null,
  };
}
