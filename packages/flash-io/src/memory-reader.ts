/** A {@link FlashReader} over bytes that are in memory already: tests, and models small enough to be shipped inside a page. */
import { DisposedError, partAt, truncatedError } from "@flashwick/core";
import type { FlashReader } from "./reader.js";
import { checkRunIndices } from "./run-indices.js";

/** A file in memory, one of several: its bytes are the offsets from `begin` on. */
export interface MemoryPart {
  readonly begin: number;
  readonly bytes: Uint8Array;
}

/**
 * A reader over bytes in memory.
 *
 * @param file The whole model file, or its parts in ascending order, of which the first begins at 0; not copied.
 */
export function memoryReader(file: Uint8Array | readonly MemoryPart[], name = "memory"): FlashReader {
  const parts = file instanceof Uint8Array ? [{ begin: 0, bytes: file }] : file;
  let closed = false;
  let batchRuns = 0;
  return {
    name,
    mode: "memory",
    fallback: null,
    alignmentBytes: 1,
    readers: 0,
    leavesCores: false,
    mergeGapBytes: 0,
    needsSharedMemory: false,
    start(memory, runs, signal) {
      if (closed) throw new DisposedError(name);
      signal?.throwIfAborted();
      batchRuns = runs.length;
      for (const run of runs) {
        const { begin, bytes } = partAt(parts, run.offset);
        let from = run.offset - begin;
        if (from + run.sizeBytes > bytes.byteLength) throw truncatedError(name, from, run.sizeBytes, bytes.byteLength);
        for (const piece of run.pieces) {
          memory.set(bytes.subarray(from, from + piece.sizeBytes), piece.ptr);
          from += piece.sizeBytes;
        }
      }
    },
    wait() {},
    waitFor(indices) {
      checkRunIndices(name, indices, batchRuns);
    },
    release() {},
    async close() {
      closed = true;
    },
  };
}
