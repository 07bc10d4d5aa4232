/** A {@link FlashReader} over bytes that are in memory already: tests, and models small enough to be shipped inside a page. */
import { DisposedError, truncatedError } from "@flashwick/core";
import type { FlashReader } from "./reader.js";
import { checkRunIndices } from "./run-indices.js";

/** @param file The whole model file; not copied. */
export function memoryReader(file: Uint8Array, name = "memory"): FlashReader {
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
        if (run.offset + run.sizeBytes > file.byteLength) {
          throw truncatedError(name, run.offset, run.sizeBytes, file.byteLength);
        }
        let from = run.offset;
        for (const piece of run.pieces) {
          memory.set(file.subarray(from, from + piece.sizeBytes), piece.ptr);
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
