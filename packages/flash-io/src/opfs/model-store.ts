/**
 * Models in a page's private file system: imported from a file or an address, listed, opened, deleted. All of it runs in a dedicated worker.
 *
 * Invariants:
 * - A model has its name only when it is whole. Until then its bytes are in `<name>.partial`, and `<name>.partial.json` says of what they are.
 * - Whatever ends an import (an abort, the network, a full disk, the tab), the store stays intact: the next import of the same source goes on.
 * - One import of a name at a time, in all tabs (a web lock).
 */
import { type ByteSource, FormatError, InputError, IoError, type OnProgress, truncatedError } from "@flashwick/core";
import { type HttpFile, type HttpSourceOptions, RangeRequests } from "../http/http-source.js";
import { openHandle, readAt, type StoredFileHandle, type SyncHandle } from "./sync-handle.js";

/** A model that lies in the private file system. */
export interface StoredModel {
  readonly name: string;
  readonly sizeBytes: number;
  /** False: an import was interrupted; importing the same source again goes on. */
  readonly complete: boolean;
  /** Of an interrupted import: the whole size. */
  readonly totalBytes: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

/** Name, checks, progress and abort of an import. */
export interface ImportOptions {
  /** Default: the source's own. Without `/`. */
  readonly name?: string;
  /** Replaces a model of this name. Default false: refused. */
  readonly replace?: boolean;
  /**
   * Sees the whole file before it gets its name: throws if it is damaged. What is then stored is dropped.
   */
  readonly verify?: (source: ByteSource) => Promise<void>;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

/** What the origin uses of its storage, and how much it may use. Bytes. */
export interface StorageEstimate {
  readonly usageBytes: number;
  readonly quotaBytes: number;
  /** Whether the browser has promised to keep it. */
  readonly persisted: boolean;
}

/** What an unfinished import is of. */
interface Journal {
  /** The address and version, or the file's name, size and time. */
  readonly source: string;
  readonly totalBytes: number;
}

const FOLDER = "flashwick-models";
const CHUNK_BYTES = 4 * 2 ** 20;
const PARTIAL = ".partial";
const JOURNAL = ".partial.json";

/** Models in a page's private file system. */
export class ModelStore {
  readonly #folder: FileSystemDirectoryHandle;

  private constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  /** @param folder Of the private file system. @throws {IoError} `IO_READ` where there is none (private windows of some browsers). */
  static async open(folder = FOLDER): Promise<ModelStore> {
    try {
      const root = await navigator.storage.getDirectory();
      return new ModelStore(await root.getDirectoryHandle(folder, { create: true }));
    } catch (cause) {
      const message = `the browser gives this page no private file system (${(cause as Error).message}); leave private browsing, or allow storage`;
      throw new IoError("IO_READ", message, { cause });
    }
  }

  /** Models and unfinished imports, by name. */
  async list(): Promise<StoredModel[]> {
    const models: StoredModel[] = [];
    for await (const [name, entry] of entriesOf(this.#folder)) {
      if (entry.kind !== "file" || name.endsWith(JOURNAL)) continue;
      const file = await (entry as FileSystemFileHandle).getFile();
      const complete = !name.endsWith(PARTIAL);
      const own = complete ? name : name.slice(0, -PARTIAL.length);
      const journal = complete ? null : await this.#readJournal(own);
      const totalBytes = journal?.totalBytes ?? file.size;
      models.push({ name: own, sizeBytes: file.size, complete, totalBytes, modified: file.lastModified });
    }
    return models.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Whether a file of this name is stored. */
  async has(name: string): Promise<boolean> {
    return (await this.#find(name)) !== null;
  }

  /** The file of a model: what readers open. @throws {IoError} `IO_NOT_FOUND`. */
  async file(name: string): Promise<FileSystemFileHandle> {
    const found = await this.#find(name);
    if (found) return found;
    throw new IoError("IO_NOT_FOUND", `${name}: no such model is stored; import it`, { details: { name } });
  }

  /** For headers and checks. @throws As {@link file}; {IoError} `IO_READ` while an import holds it. */
  async openSource(name: string): Promise<ByteSource> {
    return handleSource(name, await openHandle((await this.file(name)) as StoredFileHandle));
  }

  /** Removes a model, or what an unfinished import has left. @throws {IoError} `IO_WRITE` while a tab reads it. */
  async delete(name: string): Promise<void> {
    for (const own of [name, `${name}${PARTIAL}`, `${name}${JOURNAL}`]) {
      try {
        await this.#folder.removeEntry(own);
      } catch (cause) {
        if ((cause as Error).name === "NotFoundError") continue;
        const message = `${name}: it cannot be deleted (${(cause as Error).message}); another tab uses it, close that one`;
        throw new IoError("IO_WRITE", message, { cause, details: { name } });
      }
    }
  }

  /** How much the origin uses of its storage, and how much it may use. */
  async estimate(): Promise<StorageEstimate> {
    const { usage = 0, quota = 0 } = await navigator.storage.estimate();
    return { usageBytes: usage, quotaBytes: quota, persisted: await navigator.storage.persisted() };
  }

  /**
   * Stores a file that a person has chosen.
   *
   * @throws {IoError} `IO_NO_SPACE` with what is needed and what there is, `IO_EXISTS`, `IO_WRITE`. What `verify` throws. The signal's reason.
   * Cost: reads and writes it once, with 4 MiB of memory.
   */
  async importFile(file: File, options: ImportOptions = {}): Promise<StoredModel> {
    const source = JSON.stringify(["file", file.name, file.size, file.lastModified]);
    return await this.#import(
      options.name ?? file.name,
      { source, totalBytes: file.size },
      options,
      async (offset, size) => {
        return new Uint8Array(await file.slice(offset, offset + size).arrayBuffer());
      },
    );
  }

  /**
   * Stores what is at an address, by range requests: what was interrupted goes on where it was, if the server still has the same version.
   *
   * @throws As {@link importFile}; as `httpSource` for the network.
   */
  async importUrl(
    url: string,
    options: ImportOptions & Pick<HttpSourceOptions, "fetch" | "headers" | "tries"> = {},
  ): Promise<StoredModel> {
    const requests = new RangeRequests(url, options);
    const file: HttpFile = await requests.open();
    const source = JSON.stringify(["url", url, file.version]);
    const name = options.name ?? decodeURIComponent(new URL(url).pathname.split("/").at(-1) ?? "");
    // The version is checked with every answer.
    return await this.#import(name, { source, totalBytes: file.sizeBytes }, options, (offset, size) =>
      requests.read(offset, size, options.signal),
    );
  }

  async #import(
    name: string,
    journal: Journal,
    options: ImportOptions,
    read: (offset: number, sizeBytes: number) => Promise<Uint8Array>,
  ): Promise<StoredModel> {
    checkName(name);
    const done = await navigator.locks.request(`flashwick import ${name}`, { ifAvailable: true }, async (lock) => {
      if (lock === null) {
        throw new IoError("IO_WRITE", `${name}: another tab is importing it; wait for that one, or close it`, {
          details: { name },
        });
      }
      if (!options.replace && (await this.has(name))) {
        throw new IoError(
          "IO_EXISTS",
          `${name}: a model of this name is stored already; delete it, or give another name`,
          {
            details: { name },
          },
        );
      }
      return await this.#write(name, journal, options, read);
    });
    return done as StoredModel;
  }

  async #write(
    name: string,
    journal: Journal,
    options: ImportOptions,
    read: (offset: number, sizeBytes: number) => Promise<Uint8Array>,
  ): Promise<StoredModel> {
    const { totalBytes } = journal;
    const before = await this.#readJournal(name);
    const goesOn = before !== null && before.source === journal.source && before.totalBytes === totalBytes;
    if (!goesOn) await this.#begin(name, journal);
    const partial = (await this.#folder.getFileHandle(`${name}${PARTIAL}`, { create: true })) as StoredFileHandle;
    const handle = await openForWriting(name, partial);
    try {
      if (!goesOn) handle.truncate(0);
      await this.#land(name, handle, totalBytes, options, read);
      try {
        await options.verify?.(handleSource(name, handle, false));
      } catch (error) {
        // What is damaged is not gone on with.
        handle.truncate(0);
        throw error;
      }
    } finally {
      handle.flush();
      handle.close();
    }
    await this.#rename(partial, name);
    await this.#folder.removeEntry(`${name}${JOURNAL}`);
    return { name, sizeBytes: totalBytes, complete: true, totalBytes, modified: Date.now() };
  }

  /** @throws {IoError} `IO_NO_SPACE` where not even the journal has room. */
  async #begin(name: string, journal: Journal): Promise<void> {
    try {
      await this.#writeJournal(name, journal);
    } catch (cause) {
      throw isQuota(cause) ? await this.#noSpace(name, journal.totalBytes, cause) : cause;
    }
  }

  async #land(
    name: string,
    handle: SyncHandle,
    totalBytes: number,
    { onProgress, signal }: ImportOptions,
    read: (offset: number, sizeBytes: number) => Promise<Uint8Array>,
  ): Promise<void> {
    const begin = handle.getSize();
    const startedMs = performance.now();
    for (let at = Math.min(begin, totalBytes); at < totalBytes; ) {
      signal?.throwIfAborted();
      const bytes = await read(at, Math.min(CHUNK_BYTES, totalBytes - at));
      if (bytes.length === 0)
        throw new FormatError(
          "FORMAT_TRUNCATED",
          `${name}: the source ended at ${at} of ${totalBytes} bytes; import it again`,
        );
      await this.#put(name, handle, bytes, at, totalBytes);
      at += bytes.length;
      const bytesPerSec = ((at - begin) / Math.max(1, performance.now() - startedMs)) * 1000;
      const detail = `${(bytesPerSec / 1e6).toFixed(0)} MB/s, ${Math.ceil((totalBytes - at) / bytesPerSec)} s left`;
      onProgress?.({ phase: "import", loaded: at, total: totalBytes, unit: "bytes", detail });
    }
  }

  /** @throws {IoError} `IO_NO_SPACE`: then the chunk is taken back, so that what is there is whole up to its end. */
  async #put(name: string, handle: SyncHandle, bytes: Uint8Array, at: number, totalBytes: number): Promise<void> {
    try {
      const written = handle.write(bytes, { at });
      if (written === bytes.length) return;
      throw new DOMException(`${written} of ${bytes.length} bytes were taken`, "QuotaExceededError");
    } catch (cause) {
      handle.truncate(at);
      if (isQuota(cause)) throw await this.#noSpace(name, totalBytes - at, cause);
      throw new IoError("IO_WRITE", `${name} @ ${at}: writing failed (${(cause as Error).message})`, { cause });
    }
  }

  async #noSpace(name: string, neededBytes: number, cause: unknown): Promise<IoError> {
    const { usageBytes, quotaBytes } = await this.estimate();
    return new IoError(
      "IO_NO_SPACE",
      `${name}: ${neededBytes} more bytes are needed, but the browser gives this page ${quotaBytes} in all, of which ${usageBytes} are used; ` +
        "delete other models, or free the disk; importing again goes on from here",
      { cause, details: { neededBytes, usageBytes, quotaBytes } },
    );
  }

  async #rename(partial: StoredFileHandle, name: string): Promise<void> {
    if (partial.move) return await partial.move(name);
    // A copy where nothing can be renamed: twice the space, and not at once, but a half of it never has the name for long.
    const from = await openHandle(partial);
    const target = (await this.#folder.getFileHandle(name, { create: true })) as StoredFileHandle;
    const to = await openForWriting(name, target);
    const totalBytes = from.getSize();
    for (let at = 0; at < totalBytes; at += CHUNK_BYTES) {
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, totalBytes - at));
      const got = readAt(from, name, chunk, at);
      if (got < chunk.length) throw truncatedError(name, at, chunk.length, at + got);
      await this.#put(name, to, chunk, at, totalBytes);
    }
    to.flush();
    to.close();
    from.close();
    await this.#folder.removeEntry(`${name}${PARTIAL}`);
  }

  async #find(name: string): Promise<FileSystemFileHandle | null> {
    checkName(name);
    return await this.#folder.getFileHandle(name).catch(() => null);
  }

  async #readJournal(name: string): Promise<Journal | null> {
    try {
      const handle = await this.#folder.getFileHandle(`${name}${JOURNAL}`);
      const { source, totalBytes } = JSON.parse(await (await handle.getFile()).text());
      return typeof source === "string" && Number.isSafeInteger(totalBytes) ? { source, totalBytes } : null;
    } catch {
      return null;
    }
  }

  async #writeJournal(name: string, journal: Journal): Promise<void> {
    const file = (await this.#folder.getFileHandle(`${name}${JOURNAL}`, { create: true })) as StoredFileHandle;
    const handle = await openForWriting(name, file);
    try {
      handle.truncate(0);
      handle.write(new TextEncoder().encode(JSON.stringify(journal)), { at: 0 });
      handle.flush();
    } finally {
      handle.close();
    }
  }
}

/** Entries of a folder; libraries of types do not have them all. */
function entriesOf(folder: FileSystemDirectoryHandle): AsyncIterable<[string, FileSystemHandle]> {
  return (folder as unknown as { entries(): AsyncIterable<[string, FileSystemHandle]> }).entries();
}

function isQuota(error: unknown): boolean {
  return (error as Error).name === "QuotaExceededError";
}

async function openForWriting(name: string, file: StoredFileHandle): Promise<SyncHandle> {
  try {
    return await file.createSyncAccessHandle({ mode: "readwrite" });
  } catch (cause) {
    const message = `${name}: it cannot be written (${(cause as Error).message}); another tab uses it, close that one`;
    throw new IoError("IO_WRITE", message, { cause, details: { name } });
  }
}

/** @param owned Closing the source closes the handle. */
function handleSource(name: string, handle: SyncHandle, owned = true): ByteSource {
  const sizeBytes = handle.getSize();
  return {
    name,
    sizeBytes,
    async read(target, offset, signal) {
      signal?.throwIfAborted();
      const end = offset + target.byteLength;
      if (offset < 0 || end > sizeBytes) throw truncatedError(name, offset, target.byteLength, sizeBytes);
      const got = readAt(handle, name, target, offset);
      if (got < target.byteLength) throw truncatedError(name, offset, target.byteLength, offset + got);
    },
    async close() {
      if (owned) handle.close();
    },
  };
}

function checkName(name: string): void {
  if (name !== "" && !name.includes("/") && !name.endsWith(PARTIAL) && !name.endsWith(JOURNAL)) return;
  throw new InputError(
    "INPUT_INVALID",
    `${JSON.stringify(name)}: expected a name without "/", not ending in "${PARTIAL}"`,
  );
}
