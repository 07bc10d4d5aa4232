// @ts-check
/** Making V8 collect garbage in this thread, without a flag: flags set in a worker are those of the whole process. */
import { GCProfiler } from "node:v8";

/** Nobody touches it, so none of it becomes resident. Smaller ones are collected with the young generation alone. */
const DECOY_BYTES = 2 ** 27;
/** One was enough in every run of a thread with a small heap, up to 28 in others (Node 20): a bound, should V8 weigh them differently. */
const MAX_DECOYS = 256;

/** The first may have begun to mark before the memory was dropped. After two, three unloaded engines in ten were still there; after three, none of twenty. */
const COLLECTIONS = 3;

/**
 * Allocates what is garbage at once until V8 has collected all generations, so that memory which this thread has dropped is freed.
 * V8 counts the bytes behind array buffers of an isolate, and collects in full when too many were allocated since the last time.
 * Where it does not, or such an allocation is refused, dropped memory is freed at the next collection.
 *
 * Cost: 7 to 10 ms of the processor's time a collection (Node 20, 2 vCPU; `gc()` behind --expose-gc 6 to 8, `v8.queryObjects()` 45).
 */
export function provokeCollection() {
  const profiler = new GCProfiler();
  let collections = 0;
  for (let decoys = 0; decoys < MAX_DECOYS && collections < COLLECTIONS; decoys++) {
    profiler.start();
    try {
      new ArrayBuffer(DECOY_BYTES);
    } catch {
      return;
    } finally {
      const { statistics } = profiler.stop();
      collections += statistics.filter(({ gcType }) => gcType === "MarkSweepCompact").length;
    }
  }
}
