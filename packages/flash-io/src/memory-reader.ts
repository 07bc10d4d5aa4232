/** A {@link FlashReader} over bytes that are in memory already: tests, and models small enough to be shipped inside a page. */
import { truncatedError } from "@flashwick/core";
import type { FlashReader } from "./reader.js";

/** @param file The whole model file; not copied. */
export function memoryReader(file: Uint8Array, name = "memory"): FlashReader {
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
      signal?.throwIfAborted();
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
    release() {},
    async close() {},
  };
}
