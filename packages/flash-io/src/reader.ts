/**
 * How bytes of a model file get from flash into an arena.
 *
 * A plan (pure, run-plan.ts) lists contiguous runs; a reader executes it. `start` returns at once where the reader has
 * threads of its own, so that the caller computes while reads fly; `wait` gives a promise only where it must, so that the
 * decode loop normally never touches the event loop.
 */
import type { FlashRun } from "./run-plan.js";

/** Reads runs of records into memory: one batch at a time, begun and then waited for. */
export interface FlashReader {
  /** For messages: the file's path or address. */
  readonly name: string;
  readonly mode: "direct" | "buffered" | "memory";
  /** Why reads are buffered although direct ones were wanted; null where nothing was given up. */
  readonly fallback: string | null;
  /**
   * What the device asks of direct reads: offsets, sizes and landing places that are multiples of it land without a copy;
   * others are widened and go through a bounce buffer of the reader's own.
   */
  readonly alignmentBytes: number;
  /** Reads in flight at once; 0 where `start` reads on the calling thread. */
  readonly readers: number;
  /** Whether reads in flight need no core: computing meanwhile does not hold them up. */
  readonly leavesCores: boolean;
  /** Up to this many unneeded bytes between two runs are cheaper to read than another operation; 0: never. */
  readonly mergeGapBytes: number;
  /** Whether `memory` must be a view of shared memory. */
  readonly needsSharedMemory: boolean;
  /**
   * Begins to read `runs`, in order. One batch at a time: `wait()` for all of it comes before the next `start`.
   *
   * @param memory All bytes of the arena; the runs' pointers index it.
   * @throws {DisposedError} after `close`. {InputError} `INPUT_INVALID` while a batch is in flight, or if `memory` must be shared and
   *   is not. The signal's own reason if it is aborted already.
   */
  start(memory: Uint8Array, runs: readonly FlashRun[], signal?: AbortSignal): void;
  /**
   * Returns when the first `runCount` runs of the batch have landed; by default all. Once all have landed, the batch has ended.
   *
   * @throws {IoError} `IO_READ` naming file and offset. {FormatError} `FORMAT_TRUNCATED` if the file ends first.
   *   {IntegrityError} if the file is no longer the one that was opened. The signal's own reason when aborted.
   *   {DisposedError} when the reader was closed. Whatever is thrown: no read is in flight any more, and the batch has ended.
   *   Readers that read on the calling thread throw all of this from `start`.
   */
  wait(runCount?: number): void | Promise<void>;
  /**
   * Returns when the runs of these indices have landed, whatever has become of the others: what arrives first can be used first.
   *
   * @param runs Indices into the batch, in any order. After the batch has ended, those of the last one, which have all landed.
   * @throws As {@link wait}; {InputError} `INPUT_INVALID` if the batch has no such run.
   * Cost: O(runs) for each look.
   */
  waitFor(runs: ArrayLike<number>): void | Promise<void>;
  /** Forgets a memory that no further batch will use, so that it can be freed. No batch may be in flight. */
  release(memory: Uint8Array): void;
  /**
   * Cancels a batch in flight, ends the threads, closes the file. Safe to call twice. Ends within seconds even if a thread hangs or has
   * died: then a read that the system does not give back may still land in its memory.
   */
  close(): Promise<void>;
}
