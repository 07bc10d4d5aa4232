/**
 * A {@link ByteSink} over a file, atomic and resumable.
 *
 * Invariants: everything goes to `<path>.partial`, and notes of what is done to `<path>.partial.journal`; `<path>` itself
 * appears, or changes, by a rename after its bytes are durable, and never otherwise. After `commit` or `abandon` neither
 * of the two is left, after `suspend` both are. What an earlier run left counts only for a caller that asks the journal before it writes. One
 * writer at a time: a second one is refused, as far as `output-lock.ts` can tell.
 */
import { type FileHandle, open, readFile, rename, stat, unlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type ByteSink, IoError } from "@flashwick/core";
import type { WriteJournal } from "../model-writer.js";
import { writeError } from "./file-errors.js";
import { lockOutput, type OutputLock } from "./output-lock.js";

/** A file that is written under a temporary name and gets its own when it is whole. */
export interface FileSink extends ByteSink {
  /** Lines beside the unfinished file; `clear()` also forgets the unfinished file's bytes. */
  readonly journal: WriteJournal;
}

/** Where the bytes of `path` are before it is whole. */
export function partialPath(path: string): string {
  return `${path}.partial`;
}

/** Whether a file that is there may be replaced. */
export interface FileSinkOptions {
  /** Replace an existing file (at `commit`; until then it stays as it is). */
  readonly force?: boolean;
}

/**
 * Begins to write `path`, or takes up what an interrupted run left beside it (the journal says what that is worth).
 *
 * @throws {IoError} `IO_EXISTS` if `path` exists and `force` is not set; `IO_BUSY` while another sink writes it; `IO_NO_SPACE`, `IO_WRITE`.
 */
export async function fileSink(path: string, options: FileSinkOptions = {}): Promise<FileSink> {
  const force = options.force ?? false;
  const lock = await lockOutput(path);
  try {
    const existing = await openPartial(path);
    if (!force) await refuseExisting(path, existing);
    return new PartialFile(path, existing ?? (await createPartial(path)), force, lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** What an interrupted run wrote; null: nothing. */
async function openPartial(path: string): Promise<FileHandle | null> {
  const partial = partialPath(path);
  const found = await open(partial, "r+").catch(() => null);
  const existing = found && (await ownFile(partial, found));
  // A journal without its file is worth nothing: it is left by a run that ended between its last two steps.
  if (existing === null) await removeIfThere(`${partial}.journal`);
  return existing;
}

/** A file that has another name too is somebody else's: a link into the hub's cache, left by a download that was killed. It is not written into. */
async function ownFile(partial: string, handle: FileHandle): Promise<FileHandle | null> {
  if ((await handle.stat()).nlink <= 1) return handle;
  await handle.close();
  await removeIfThere(partial);
  return null;
}

async function createPartial(path: string): Promise<FileHandle> {
  const partial = partialPath(path);
  return await open(partial, "w+").catch((cause: unknown) => {
    throw writeError(partial, cause);
  });
}

async function refuseExisting(path: string, opened: FileHandle | null): Promise<void> {
  const exists = await stat(path).then(
    () => true,
    () => false,
  );
  if (!exists) return;
  await opened?.close();
  throw new IoError("IO_EXISTS", `${path} exists already; choose another name, or replace it with --force`, {
    details: { path },
  });
}

async function removeIfThere(path: string): Promise<void> {
  await unlink(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "ENOENT") throw writeError(path, cause);
  });
}

class PartialFile implements FileSink {
  readonly name: string;
  readonly journal: WriteJournal;
  readonly #partialPath: string;
  readonly #journalPath: string;
  readonly #handle: FileHandle;
  readonly #force: boolean;
  readonly #lock: OutputLock;
  /** Whether the bytes in the file are ours, or some that the caller has asked about: if not, the first write clears them. */
  #known = false;
  #ended = false;

  constructor(path: string, handle: FileHandle, force: boolean, lock: OutputLock) {
    this.name = path;
    this.#partialPath = partialPath(path);
    this.#journalPath = `${this.#partialPath}.journal`;
    this.#handle = handle;
    this.#force = force;
    this.#lock = lock;
    this.journal = {
      entries: () => this.#journalLines(),
      append: (line) => this.#translated(() => writeFile(this.#journalPath, `${line}\n`, { flag: "a" })),
      clear: () => this.#clear(),
    };
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    if (!this.#known) await this.#clear();
    await this.#translated(async () => {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, offset + done);
        done += bytesWritten;
      }
    });
  }

  async read(target: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < target.length; ) {
      const { bytesRead } = await this.#handle.read(target, done, target.length - done, offset + done);
      if (bytesRead === 0) {
        target.fill(0, done);
        return;
      }
      done += bytesRead;
    }
  }

  async commit(sizeBytes: number): Promise<void> {
    await this.#translated(async () => {
      await this.#handle.truncate(sizeBytes);
      await this.#handle.sync();
      if (!this.#force) await refuseExisting(this.name, null);
      await rename(this.#partialPath, this.name);
      this.#ended = true;
      await this.#handle.close();
      await removeIfThere(this.#journalPath);
      await syncDirectory(dirname(this.name));
    }).finally(() => {
      if (this.#ended) this.#lock.release();
    });
  }

  async abandon(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    try {
      await this.#handle.close();
      await removeIfThere(this.#partialPath);
      await removeIfThere(this.#journalPath);
    } finally {
      this.#lock.release();
    }
  }

  async suspend(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#handle.close().finally(() => this.#lock.release());
  }

  async #journalLines(): Promise<string[]> {
    this.#known = true;
    const text = await readFile(this.#journalPath, "utf8").catch(() => "");
    return text.split("\n").filter((line) => line !== "");
  }

  async #clear(): Promise<void> {
    this.#known = true;
    await this.#translated(async () => {
      await removeIfThere(this.#journalPath);
      await this.#handle.truncate(0);
    });
  }

  async #translated(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (cause) {
      throw cause instanceof IoError ? cause : writeError(this.name, cause);
    }
  }
}

/** Makes a rename durable. Some platforms do not let directories be opened; there the file system sees to it itself. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r").catch(() => null);
  if (handle === null) return;
  await handle.sync().catch(() => {});
  await handle.close();
}
