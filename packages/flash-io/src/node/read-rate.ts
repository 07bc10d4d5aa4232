/**
 * How fast a reader reads at random: the load that device tuning, the comparison with fio and a run's physical limit put on it.
 *
 * Only the steady state is timed: one batch that is longer than the time given, from one prefix that has landed to another, with all
 * readers busy before, between and after. The rest of the batch is cancelled.
 */
import { eventLoopTurn, type Random, truncatedError } from "@flashwick/core";
import type { FlashRun } from "../run-plan.js";
import type { ThreadedReader } from "../threads/threaded-reader.js";

/** The reads that {@link measureReadRate} keeps in flight. */
export interface ReadLoad {
  readonly fileBytes: number;
  /** Of each read; offsets are multiples of it. A multiple of the device's alignment, no more than `fileBytes`. */
  readonly sizeBytes: number;
  readonly seconds: number;
  readonly random: Random;
  /**
   * What the calling thread does while reads fly, some milliseconds at a time: how fast do both go then? Default: it sleeps until reads have
   * landed.
   */
  readonly meanwhile?: (() => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a reader reached in the steady state. */
export interface ReadRate {
  readonly bytesPerSec: number;
  readonly reads: number;
  readonly seconds: number;
}

/** Different reads made beforehand; a longer batch repeats them. */
const DISTINCT_READS = 16384;
/** No device that is known does more: what a batch must hold to outlast its time. */
const MOST_READS_PER_SEC = 400_000;
/** Looking at the clock more often than this takes time from the readers on a small machine. */
const LOOK_MS = 4;
/** Share of the time that passes before the clock is looked at. */
const WARM_UP = 0.15;

/** Memory for `readers` reads of up to `sizeBytes`, each with a place of its own, as fio has it. */
export function landingMemory(readers: number, sizeBytes: number): Uint8Array {
  const pages = Math.ceil((readers * sizeBytes) / 65536);
  return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
}

/**
 * Reads at random into `memory` for about `load.seconds`.
 *
 * @throws What the reader throws; the signal's own reason.
 */
export async function measureReadRate(reader: ThreadedReader, memory: Uint8Array, load: ReadLoad): Promise<ReadRate> {
  if (load.sizeBytes > load.fileBytes) throw truncatedError(reader.name, 0, load.sizeBytes, load.fileBytes);
  const runs = planRandomReads(load, Math.floor(memory.byteLength / load.sizeBytes));
  const stop = new AbortController();
  let step = 2 * reader.readers;
  reader.start(memory, runs, stop.signal);
  const begun = performance.now();
  let first = 0;
  let firstAt = begun;
  let landed = 0;
  let now = begun;
  while (landed < runs.length - 1 && now - begun < load.seconds * 1000) {
    if (load.meanwhile) {
      load.meanwhile();
      await eventLoopTurn();
    } else {
      await reader.wait(Math.min(runs.length - 1, landed + step));
    }
    // More may have landed while this thread waited for a core.
    landed = reader.countLanded();
    const before = now;
    now = performance.now();
    if (now - before < LOOK_MS) step *= 2;
    if (load.signal?.aborted) break;
    if (first === 0 && now - begun >= WARM_UP * load.seconds * 1000) {
      first = landed;
      firstAt = now;
    }
  }
  await cancelRest(reader, stop);
  load.signal?.throwIfAborted();
  // A file or a time so small that nothing followed the warm-up: all of it, then.
  if (landed === first) [first, firstAt] = [0, begun];
  const seconds = (now - firstAt) / 1000;
  const reads = landed - first;
  return { bytesPerSec: (reads * load.sizeBytes) / seconds, reads, seconds };
}

function planRandomReads({ fileBytes, sizeBytes, seconds, random }: ReadLoad, places: number): FlashRun[] {
  const blocks = Math.floor(fileBytes / sizeBytes);
  const total = Math.ceil(Math.min(seconds * MOST_READS_PER_SEC, 4_000_000));
  const distinct = Array.from({ length: Math.min(DISTINCT_READS, total) }, (_, i) => ({
    offset: random.below(blocks) * sizeBytes,
    sizeBytes,
    pieces: [{ ptr: (i % places) * sizeBytes, sizeBytes }],
    picks: 0,
  }));
  return Array.from({ length: total }, (_, i) => distinct[i % distinct.length]!);
}

async function cancelRest(reader: ThreadedReader, stop: AbortController): Promise<void> {
  const enough = new Error("measured long enough");
  stop.abort(enough);
  try {
    await reader.wait();
  } catch (error) {
    if (error !== enough) throw error;
  }
}
