/** A {@link ByteSource} over a file, with positional reads. */
import { type FileHandle, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type ByteSource, IoError, truncatedError } from "@flashwick/core";
import { openError } from "./file-errors.js";

/** Node refuses reads of 2 GiB and more; this also bounds how long a cancelled read goes on. */
const MOST_READ_BYTES = 64 * 1024 * 1024;

/**
 * Opens a file for reading.
 *
 * @throws {IoError} `IO_NOT_FOUND` if it is not there, `IO_READ` if it cannot be opened or is no regular file.
 */
export async function fileSource(path: string): Promise<ByteSource> {
  const handle = await open(path, "r").catch((cause: unknown) => {
    throw openError(path, cause);
  });
  const stat = await handle.stat();
  if (!stat.isFile()) {
    await handle.close();
    throw new IoError("IO_READ", `${path}: expected a file, found something else; give the path of a model file`);
  }
  return new FileSource(path, handle, stat.size);
}

class FileSource implements ByteSource {
  readonly name: string;
  readonly sizeBytes: number;
  readonly #handle: FileHandle;
  readonly #siblings: ByteSource[] = [];
  #closed = false;

  constructor(name: string, handle: FileHandle, sizeBytes: number) {
    this.name = name;
    this.#handle = handle;
    this.sizeBytes = sizeBytes;
  }

  async read(target: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> {
    let done = 0;
    while (done < target.byteLength) {
      signal?.throwIfAborted();
      const length = Math.min(target.byteLength - done, MOST_READ_BYTES);
      const bytesRead = await this.#readOnce(target, done, length, offset + done);
      if (bytesRead === 0) throw truncatedError(this.name, offset, target.byteLength, this.sizeBytes);
      done += bytesRead;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
    for (const sibling of this.#siblings) await sibling.close();
  }

  async openSibling(name: string): Promise<ByteSource> {
    const sibling = await fileSource(join(dirname(this.name), name));
    this.#siblings.push(sibling);
    return sibling;
  }

  async #readOnce(target: Uint8Array, at: number, length: number, position: number): Promise<number> {
    try {
      const { bytesRead } = await this.#handle.read(target, at, length, position);
      return bytesRead;
    } catch (cause) {
      throw new IoError(
        "IO_READ",
        `${this.name} @ ${position}: reading ${length} bytes failed: ${(cause as Error).message}`,
        {
          details: { offset: position, sizeBytes: length },
          cause,
        },
      );
    }
  }
}
