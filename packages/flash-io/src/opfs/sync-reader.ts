/** A reader of the private file system that reads when asked, on the worker that asks. */
import { DisposedError, IoError, truncatedError } from "@flashwick/core";
import type { FlashReader } from "../reader.js";
import { checkRunIndices } from "../run-indices.js";
import type { FlashRun } from "../run-plan.js";
import type { SyncHandle } from "./sync-handle.js";

export class SyncReader implements FlashReader {
  readonly mode = "buffered";
  readonly alignmentBytes = 1;
  readonly readers = 0;
  readonly leavesCores = false;
  readonly needsSharedMemory = false;
  readonly fileBytes: number;
  #batchRuns = 0;
  #closed = false;

  /**
   * @param handle   Closed with the reader.
   * @param fallback Why there are no workers although they were wanted; null if they were not.
   */
  constructor(
    readonly name: string,
    private readonly handle: SyncHandle,
    readonly fallback: string | null,
    readonly mergeGapBytes: number,
  ) {
    this.fileBytes = handle.getSize();
  }

  start(memory: Uint8Array, runs: readonly FlashRun[], signal?: AbortSignal): void {
    if (this.#closed) throw new DisposedError(this.name);
    signal?.throwIfAborted();
    this.#batchRuns = runs.length;
    for (const run of runs) {
      signal?.throwIfAborted();
      this.#readRun(memory, run);
    }
  }

  wait(): void {}

  waitFor(runs: ArrayLike<number>): void {
    checkRunIndices(this.name, runs, this.#batchRuns);
  }

  release(): void {}

  async close(): Promise<void> {
    if (!this.#closed) this.handle.close();
    this.#closed = true;
  }

  #readRun(memory: Uint8Array, { offset, sizeBytes, pieces }: FlashRun): void {
    let at = offset;
    for (const { ptr, sizeBytes: pieceBytes } of pieces) {
      const end = at + pieceBytes;
      for (let to = ptr; at < end; ) {
        const got = this.#read(memory.subarray(to, to + end - at), at);
        if (got <= 0) throw truncatedError(this.name, offset, sizeBytes, at);
        to += got;
        at += got;
      }
    }
  }

  /** Bytes read: fewer than wanted where the browser says so, none where the file ends. */
  #read(into: Uint8Array, at: number): number {
    try {
      return this.handle.read(into, { at });
    } catch (cause) {
      throw new IoError(
        "IO_READ",
        `${this.name} @ ${at}: reading ${into.length} bytes failed (${(cause as Error).message}); import the model again`,
        { details: { offset: at, sizeBytes: into.length }, cause },
      );
    }
  }
}
