/**
 * Pages of keys and values as files in a folder: `<key>.kv`, least recently used ones removed.
 *
 * A file is 16 bytes (the letters FWKV, then u32 little-endian: version 2, CRC-32C of key and page, bytes of the page) and the page. It is written under a
 * temporary name and renamed, so that whoever reads it sees all of it or nothing; several processes may share a folder. A damaged file is removed.
 */
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { InputError, IoError } from "@flashwick/core";
import { crc32c } from "@flashwick/flash-format";
import type { PrefixStore } from "../serving/prefix-store.js";

const MAGIC = 0x564b5746;
const VERSION = 2;
const HEADER_BYTES = 16;
const NAME = /^([0-9a-f]{64})\.kv$/;
const TEMPORARY = /^[0-9a-f]{64}\.kv\..*\.tmp$/;
/** A temporary file this old belongs to nobody any more, milliseconds. */
const STALE_MS = 3_600_000;

/** How much a folder of prompts may hold, and who hears of its failures. */
export interface PrefixFolderOptions {
  /** Most bytes of all files together, of those that this process has seen. */
  readonly maxBytes: number;
  /** Hears of what could not be read or written; the pages concerned are computed. */
  readonly onError?: ((error: IoError) => void) | undefined;
}

/**
 * Opens a folder, which is made if it is not there, for `Model.openScheduler`.
 *
 * @throws {IoError} `IO_WRITE` if the folder cannot be made or read. {InputError} `INPUT_INVALID` for a bound that makes no sense.
 */
export async function openPrefixFolder(folder: string, options: PrefixFolderOptions): Promise<PrefixStore> {
  const { maxBytes } = options;
  if (!(Number.isFinite(maxBytes) && maxBytes >= 0)) {
    throw new InputError(
      "INPUT_INVALID",
      `maxBytes of a prefix folder is ${maxBytes}, expected a number of at least 0`,
    );
  }
  try {
    await mkdir(folder, { recursive: true });
    return new PrefixFolder(folder, options, await filesOf(folder));
  } catch (cause) {
    const message = `${folder}: cannot keep prefixes of prompts (${(cause as Error).message}); name a folder that can be written`;
    throw new IoError("IO_WRITE", message, { cause });
  }
}

class PrefixFolder implements PrefixStore {
  readonly #folder: string;
  readonly #options: PrefixFolderOptions;
  /** Bytes of each file, least recently used first. */
  readonly #files: Map<string, number>;
  #totalBytes = 0;

  constructor(folder: string, options: PrefixFolderOptions, files: Map<string, number>) {
    this.#folder = folder;
    this.#options = options;
    this.#files = files;
    for (const sizeBytes of files.values()) this.#totalBytes += sizeBytes;
  }

  async has(key: string): Promise<boolean> {
    return this.#files.has(key);
  }

  async read(key: string, sizeBytes: number): Promise<Uint8Array | null> {
    try {
      // Another process may have written it. What is no file, or has another size, is not read: it may have no end.
      const path = this.#path(key);
      const facts = await stat(path);
      const isWhole = facts.isFile() && facts.size === HEADER_BYTES + sizeBytes;
      const file = isWhole ? await readFile(path) : new Uint8Array(0);
      const page = pageOf(key, file, sizeBytes);
      if (page === null) return await this.#remove(key).then(() => null);
      await this.#use(key, file.length);
      return page;
    } catch (cause) {
      this.#forget(key);
      if ((cause as NodeJS.ErrnoException).code !== "ENOENT") this.#tell("IO_READ", "read", cause);
      return null;
    }
  }

  async write(key: string, bytes: Uint8Array): Promise<void> {
    const sizeBytes = HEADER_BYTES + bytes.length;
    if (sizeBytes > this.#options.maxBytes) return;
    const path = this.#path(key);
    const temporary = `${path}.${process.pid}.tmp`;
    try {
      await this.#makeRoom(sizeBytes);
      await rm(temporary, { force: true });
      // A file of its own: what somebody has put there meanwhile, a link for instance, is not written through.
      await writeFile(temporary, [headerOf(key, bytes), bytes], { flag: "wx" });
      await rename(temporary, path);
      this.#note(key, sizeBytes);
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => {});
      const isFull = ["ENOSPC", "EDQUOT"].includes((cause as NodeJS.ErrnoException).code ?? "");
      this.#tell(isFull ? "IO_NO_SPACE" : "IO_WRITE", "written", cause);
    }
  }

  async #makeRoom(sizeBytes: number): Promise<void> {
    for (const oldest of this.#files.keys()) {
      if (this.#totalBytes + sizeBytes <= this.#options.maxBytes) return;
      await this.#remove(oldest);
    }
  }

  async #use(key: string, sizeBytes: number): Promise<void> {
    this.#note(key, sizeBytes);
    const now = new Date();
    await utimes(this.#path(key), now, now);
  }

  async #remove(key: string): Promise<void> {
    this.#forget(key);
    await rm(this.#path(key), { force: true });
  }

  #note(key: string, sizeBytes: number): void {
    this.#forget(key);
    this.#files.set(key, sizeBytes);
    this.#totalBytes += sizeBytes;
  }

  #forget(key: string): void {
    this.#totalBytes -= this.#files.get(key) ?? 0;
    this.#files.delete(key);
  }

  #path(key: string): string {
    return join(this.#folder, `${key}.kv`);
  }

  #tell(code: "IO_READ" | "IO_WRITE" | "IO_NO_SPACE", what: string, cause: unknown): void {
    const message = `${this.#folder}: a prefix could not be ${what} (${(cause as Error).message}); it is computed instead`;
    this.#options.onError?.(new IoError(code, message, { cause }));
  }
}

/** Bytes of each file, least recently used first; what interrupted writes have left is removed. */
async function filesOf(folder: string): Promise<Map<string, number>> {
  const found: { readonly key: string; readonly sizeBytes: number; readonly usedMs: number }[] = [];
  for (const name of await readdir(folder)) {
    const key = NAME.exec(name)?.[1];
    if (!key && !TEMPORARY.test(name)) continue;
    // Another process may remove it meanwhile.
    const facts = await stat(join(folder, name)).catch(() => null);
    if (!facts?.isFile()) continue;
    if (key) found.push({ key, sizeBytes: facts.size, usedMs: facts.mtimeMs });
    else if (Date.now() - facts.mtimeMs > STALE_MS) await rm(join(folder, name), { force: true });
  }
  found.sort((a, b) => a.usedMs - b.usedMs);
  return new Map(found.map(({ key, sizeBytes }) => [key, sizeBytes]));
}

/** Over the key as well: a page under the name of another is one of other tokens, and whole. */
function checksumOf(key: string, page: Uint8Array): number {
  return crc32c(page, crc32c(new TextEncoder().encode(key)));
}

function headerOf(key: string, page: Uint8Array): Uint8Array {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  for (const [i, word] of [MAGIC, VERSION, checksumOf(key, page), page.length].entries())
    header.setUint32(4 * i, word, true);
  return new Uint8Array(header.buffer);
}

/** Null for a file that is not what was written under this key. */
function pageOf(key: string, file: Uint8Array, sizeBytes: number): Uint8Array | null {
  if (file.length !== HEADER_BYTES + sizeBytes) return null;
  const header = new DataView(file.buffer, file.byteOffset, HEADER_BYTES);
  const page = new Uint8Array(file.buffer, file.byteOffset + HEADER_BYTES, sizeBytes);
  const expected = [MAGIC, VERSION, checksumOf(key, page), sizeBytes];
  return expected.every((word, i) => header.getUint32(4 * i, true) === word) ? page : null;
}
