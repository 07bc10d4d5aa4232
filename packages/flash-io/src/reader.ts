/**
 * How neuron records get from flash into an arena.
 *
 * A plan (pure, run-plan.ts) becomes a batch of runs; a reader executes it. `start` returns at once where the reader
 * has threads of its own; `wait` gives a promise only where it must, so that the decode loop of a synchronous reader never
 * touches the event loop.
 */

/** One contiguous read. Its bytes are scattered over `targets` in order. */
export interface FlashRun {
  /** Absolute file offset. */
  readonly offset: number;
  readonly targets: readonly RunTarget[];
}

export interface RunTarget {
  /** Where the bytes land: a view of arena memory. */
  readonly bytes: Uint8Array;
}

export interface FlashReader {
  readonly name: string;
  readonly mode: "direct" | "buffered" | "memory";
  /** Offsets, lengths and landing places must be multiples of this. */
  readonly alignmentBytes: number;
  /** Begins to read `runs`. One batch at a time: `wait` comes before the next `start`. */
  start(runs: readonly FlashRun[], signal?: AbortSignal): void;
  /**
   * Returns when every run of the batch has landed.
   * @throws {IoError} `IO_READ` naming file and offset; {FormatError} `FORMAT_TRUNCATED`.
   */
  wait(): void | Promise<void>;
  close(): Promise<void>;
}
