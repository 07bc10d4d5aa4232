/** A reader of the private file system that reads when asked, on the worker that asks. */
import { DisposedError, truncatedError } from "@flashwick/core";
import type { FlashReader } from "../reader.js";
import { checkRunIndices } from "../run-indices.js";
import type { FlashRun } from "../run-plan.js";
import { readAt, type SyncHandle } from "./sync-handle.js";

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
    for (const piece of pieces) {
      const got = readAt(this.handle, this.name, memory.subarray(piece.ptr, piece.ptr + piece.sizeBytes), at);
      at += got;
      if (got < piece.sizeBytes) throw truncatedError(this.name, offset, sizeBytes, at);
    }
  }
}
