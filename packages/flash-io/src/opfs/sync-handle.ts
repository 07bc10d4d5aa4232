/** Synchronous handles of the private file system, and what of its interfaces no library of types has yet: modes, and moving a file. */
import { IoError, UnsupportedError } from "@flashwick/core";

export interface SyncHandle {
  read(buffer: ArrayBufferView, options: { readonly at: number }): number;
  write(buffer: ArrayBufferView, options: { readonly at: number }): number;
  truncate(sizeBytes: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

export type HandleMode = "read-only" | "readwrite" | "readwrite-unsafe";

export interface StoredFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(options?: { readonly mode?: HandleMode }): Promise<SyncHandle>;
  /** Renames within its folder. */
  move?(name: string): Promise<void>;
}

/** A read-only handle. Browsers that know no modes give an exclusive one: then one tab at a time. */
export async function openHandle(file: StoredFileHandle): Promise<SyncHandle> {
  if (typeof file.createSyncAccessHandle !== "function") {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      "the private file system has synchronous handles in dedicated workers only; open the model in a worker",
    );
  }
  try {
    return await file.createSyncAccessHandle({ mode: "read-only" });
  } catch (cause) {
    const held = (cause as Error).name === "NoModificationAllowedError";
    const why = held ? "another tab, or an import, holds it; close that one" : (cause as Error).message;
    throw new IoError("IO_READ", `${file.name}: the file cannot be opened (${why})`, {
      cause,
      details: { file: file.name },
    });
  }
}

/**
 * Fills `target` from `offset` on, however short the reads are. @returns Bytes that came: fewer where the file ends.
 *
 * @throws {IoError} `IO_READ` where the browser cannot read.
 */
export function readAt(handle: Pick<SyncHandle, "read">, name: string, target: Uint8Array, offset: number): number {
  let done = 0;
  while (done < target.length) {
    const got = readOnce(handle, name, target.subarray(done), offset + done);
    if (got <= 0) break;
    done += got;
  }
  return done;
}

function readOnce(handle: Pick<SyncHandle, "read">, name: string, into: Uint8Array, at: number): number {
  try {
    return handle.read(into, { at });
  } catch (cause) {
    const message = `${name} @ ${at}: reading ${into.length} bytes failed (${(cause as Error).message}); import the model again`;
    throw new IoError("IO_READ", message, { details: { offset: at, sizeBytes: into.length }, cause });
  }
}
