/**
 * How neuron records get from flash into an arena.
 *
 * A plan (pure, run-plan.ts) lists contiguous runs; a reader executes it. `start` returns at once where the reader has
 * threads of its own; `wait` gives a promise only where it must, so that the decode loop over a synchronous reader never
 * touches the event loop.
 */
import type { FlashRun } from "./run-plan.js";

export interface FlashReader {
  /** For messages: the file's path or address. */
  readonly name: string;
  readonly mode: "direct" | "buffered" | "memory";
  /** Offsets, sizes and landing places must be multiples of this. */
  readonly alignmentBytes: number;
  /**
   * Begins to read `runs` into `memory`. One batch at a time: `wait` comes before the next `start`.
   *
   * @param memory All bytes of the arena; the runs' pointers index it.
   */
  start(memory: Uint8Array, runs: readonly FlashRun[], signal?: AbortSignal): void;
  /**
   * Returns when every run of the batch has landed.
   *
   * @throws {IoError} `IO_READ` naming file and offset. {FormatError} `FORMAT_TRUNCATED` if the file ends first.
   *   The signal's own reason when aborted: then no read is in flight any more.
   */
  wait(): void | Promise<void>;
  /** Ends reads in flight, closes the file. Safe to call twice. */
  close(): Promise<void>;
}
