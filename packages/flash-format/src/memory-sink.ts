/** A {@link ByteSink} in memory, and a journal beside it: for tests, for small files, and where there is no file system. */
import type { ByteSink } from "@flashwick/core";
import type { WriteJournal } from "./model-writer.js";

/** A file that is written into memory. */
export interface MemorySink extends ByteSink {
  /** What was committed; null before. */
  readonly committed: Uint8Array | null;
}

/**
 * A sink in memory, for tests and for platforms without files.
 *
 * @param name For messages.
 */
export function memorySink(name = "memory"): MemorySink {
  let bytes = new Uint8Array(0);
  let committed: Uint8Array | null = null;
  let suspended = false;
  const reserve = (sizeBytes: number) => {
    if (sizeBytes <= bytes.length) return;
    const larger = new Uint8Array(Math.max(sizeBytes, 2 * bytes.length));
    larger.set(bytes);
    bytes = larger;
  };
  return {
    name,
    get committed() {
      return committed;
    },
    async write(part, offset) {
      reserve(offset + part.length);
      bytes.set(part, offset);
    },
    async read(target, offset) {
      target.fill(0);
      target.set(bytes.subarray(offset, offset + target.length));
    },
    async commit(sizeBytes) {
      reserve(sizeBytes);
      committed = bytes.subarray(0, sizeBytes);
    },
    async abandon() {
      if (committed === null && !suspended) bytes = new Uint8Array(0);
    },
    async suspend() {
      suspended = true;
    },
  };
}

/** A {@link WriteJournal} in memory. */
export function memoryJournal(): WriteJournal {
  let lines: string[] = [];
  return {
    async entries() {
      return lines;
    },
    async append(line) {
      lines = [...lines, line];
    },
    async clear() {
      lines = [];
    },
  };
}
