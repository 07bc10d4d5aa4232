/** A stretch of a source from front to back, the next read under way while the last one is being looked at. */
import type { ByteSource } from "@flashwick/core";

export interface Chunk {
  /** Valid until the next chunk is asked for. */
  readonly bytes: Uint8Array;
  /** Absolute. */
  readonly offset: number;
}

/**
 * Yields `sizeBytes` bytes from `offset` in pieces of `chunkBytes` (the last may be shorter).
 * Cost: two buffers of `chunkBytes`.
 */
export async function* readSequentially(
  source: ByteSource,
  offset: number,
  sizeBytes: number,
  chunkBytes: number,
  signal?: AbortSignal,
): AsyncGenerator<Chunk, void, void> {
  const buffers = [0, 1].map(() => new Uint8Array(Math.min(chunkBytes, sizeBytes)));
  const start = (i: number) => {
    const at = i * chunkBytes;
    const bytes = buffers[i % 2]!.subarray(0, Math.min(chunkBytes, sizeBytes - at));
    const done = source.read(bytes, offset + at, signal);
    // It is awaited below; until then a failure must not count as unhandled.
    done.catch(() => {});
    return { bytes, offset: offset + at, done };
  };
  const count = Math.ceil(sizeBytes / chunkBytes);
  let ahead = count > 0 ? start(0) : null;
  try {
    for (let i = 0; i < count; i++) {
      const current = ahead!;
      await current.done;
      ahead = i + 1 < count ? start(i + 1) : null;
      yield current;
    }
  } finally {
    await ahead?.done.catch(() => {});
  }
}
