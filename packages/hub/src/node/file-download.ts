/**
 * One file of a hub, onto this disk.
 *
 * Invariants:
 * - Nothing has the final name before its bytes are the content that the hub names.
 * - What has arrived stays in `<name>.partial` whatever ends the download, with a note of what it is of, and the next call goes on from there. It is
 *   dropped only if it turns out to be another content; if a call went on from it, that call then fetches all of it anew, once. A loss of power may leave zeros
 *   in the place of bytes that had arrived.
 */
import { constants, type Stats } from "node:fs";
import { copyFile, link, open, rename, rm, stat } from "node:fs/promises";
import { IntegrityError, IoError } from "@flashwick/core";
import { type FileSink, fileSink, lockOutput, partialPath } from "@flashwick/flash-format/node";
import type { HttpSource } from "@flashwick/flash-io/http";
import { ContentCheck } from "../content-check.js";
import type { HubFile, HubRepository } from "../hub-repository.js";
import { feed, nodeHash, sameContent } from "./file-content.js";
import { findCached } from "./hub-cache.js";

/** Where a download may look first, progress and abort. */
export interface DownloadOptions {
  /** Replaces other files of the same names. Default: refused. */
  readonly force?: boolean | undefined;
  /** The hub's cache; null: it is not looked at. */
  readonly cacheFolder: string | null;
  readonly signal?: AbortSignal | undefined;
}

export interface FileDownloadOptions extends DownloadOptions {
  /** Called with the bytes of the file that are there. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** A file that lies on disk, verified. */
export interface DownloadedFile {
  /** In the repository. */
  readonly path: string;
  /** On this disk. */
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Where the bytes come from: the hub, the hub's cache on this disk, or an earlier call. */
  readonly from: "hub" | "cache" | "disk";
  /** That came over the network in this call. */
  readonly fetchedBytes: number;
}

/**
 * Brings a file of a repository to `path`.
 *
 * @throws {IoError} `IO_EXISTS` for another file of this name, `IO_BUSY` while somebody else writes it, `IO_NO_SPACE`, `IO_WRITE`, and as `HubRepository.open`. {IntegrityError}
 * `INTEGRITY_DOWNLOAD` for other bytes than the hub lists: they are dropped. The signal's own reason.
 * Cost: one request, unless connections break or an earlier call has left damaged bytes; reads again what was left, to check it.
 */
export async function downloadFile(
  repository: HubRepository,
  file: HubFile,
  path: string,
  options: FileDownloadOptions,
): Promise<DownloadedFile> {
  const { force = false, cacheFolder, signal } = options;
  const done = (sha256: string, from: DownloadedFile["from"], fetchedBytes = 0): DownloadedFile => {
    options.onBytes?.(file.sizeBytes);
    return { path: file.path, file: path, bytes: file.sizeBytes, sha256, from, fetchedBytes };
  };
  const there = await whatIsThere(path, file, force, signal);
  if (there !== null) {
    await dropLeftovers(path);
    return done(there, "disk");
  }
  const cached = cacheFolder === null ? null : await findCached(cacheFolder, repository, file);
  const known = cached === null ? null : await sameContent(cached, file, signal);
  if (known !== null) {
    await takeCached(cached!, path);
    return done(known, "cache");
  }
  const { sha256, fetchedBytes } = await fetchFile(repository, file, path, options);
  return done(sha256, "hub", fetchedBytes);
}

/** The SHA-256 of the file that has the name already, if it is the one that is wanted; null where the name is free, or may be taken. */
async function whatIsThere(
  path: string,
  file: HubFile,
  force: boolean,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const found: Stats | null = await stat(path).catch(() => null);
  if (found === null) return null;
  const same = found.isFile() && found.size === file.sizeBytes ? await sameContent(path, file, signal) : null;
  if (same !== null || (force && found.isFile())) return same;
  throw new IoError(
    "IO_EXISTS",
    `${path}: expected no file of this name, or the one that the hub lists, found another; pull into another folder, or replace it with --force`,
    { details: { path } },
  );
}

/** What a call has left that was killed after it had given the whole file its name. Somebody who writes the file now keeps what is his. */
async function dropLeftovers(path: string): Promise<void> {
  const lock = await lockOutput(path).catch(() => null);
  if (lock === null) return;
  const partial = partialPath(path);
  await rm(partial, { force: true })
    .then(() => rm(`${partial}.journal`, { force: true }))
    .finally(() => lock.release());
}

/** A second name for the cached file where both are on one device, else a copy. */
async function takeCached(cached: string, path: string): Promise<void> {
  const partial = partialPath(path);
  const lock = await lockOutput(path);
  try {
    await rm(partial, { force: true });
    await rm(`${partial}.journal`, { force: true });
    await link(cached, partial).catch(() => copyDurably(cached, partial));
    await rename(partial, path);
    // Of two names of one file, rename(2) leaves both: another call has made the same link meanwhile.
    await rm(partial, { force: true });
  } catch (cause) {
    await rm(partial, { force: true });
    const code = (cause as NodeJS.ErrnoException).code === "ENOSPC" ? "IO_NO_SPACE" : "IO_WRITE";
    const message = `${path}: ${cached} cannot be copied there (${(cause as Error).message}); free some space, or pull into another folder`;
    throw new IoError(code, message, { cause, details: { path, cached } });
  } finally {
    lock.release();
  }
}

async function copyDurably(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  const handle = await open(to, "r+");
  await handle.sync().finally(() => handle.close());
}

async function fetchFile(
  repository: HubRepository,
  file: HubFile,
  path: string,
  options: FileDownloadOptions,
): Promise<Landed> {
  // Before anything is written: what the hub refuses leaves nothing behind. No range can be asked of an empty file.
  const source = file.sizeBytes === 0 ? null : await repository.open(file);
  try {
    const landed = await fetchInto(path, source, repository, file, options);
    if (!("damaged" in landed)) return landed;
    const again = await fetchInto(path, source, repository, file, options);
    if ("damaged" in again) throw again.damaged;
    return { ...again, fetchedBytes: landed.fetchedBytes + again.fetchedBytes };
  } finally {
    await source?.close();
  }
}

interface Landed {
  readonly sha256: string;
  readonly fetchedBytes: number;
}

/** Bytes of an earlier call, and what came after them, were another content, and are dropped. */
interface Damaged {
  readonly damaged: IntegrityError;
  readonly fetchedBytes: number;
}

async function fetchInto(
  path: string,
  source: HttpSource | null,
  repository: HubRepository,
  file: HubFile,
  options: FileDownloadOptions,
): Promise<Landed | Damaged> {
  const sink = await fileSink(path, { force: options.force ?? false });
  try {
    return await land(sink, source, repository, file, options);
  } finally {
    // After `commit` and `abandon` this does nothing.
    await sink.suspend();
  }
}

async function land(
  sink: FileSink,
  source: HttpSource | null,
  repository: HubRepository,
  file: HubFile,
  { signal, onBytes }: FileDownloadOptions,
): Promise<Landed | Damaged> {
  const check = new ContentCheck(file, nodeHash);
  const begin = await takeUp(sink, repository, file);
  await feed(check, begin, (target, offset) => sink.read(target, offset), signal);
  onBytes?.(begin);
  let at = begin;
  for await (const piece of source?.stream(begin, signal) ?? []) {
    await sink.write(piece, at);
    check.update(piece);
    at += piece.length;
    onBytes?.(at);
  }
  const fetchedBytes = at - begin;
  let sha256: string;
  try {
    sha256 = check.demand(sink.name);
  } catch (error) {
    // Nothing of it can be relied on.
    await sink.abandon();
    if (begin > 0 && error instanceof IntegrityError) return { damaged: error, fetchedBytes };
    throw error;
  }
  await sink.commit(file.sizeBytes);
  return { sha256, fetchedBytes };
}

/** How many bytes of this very content an earlier call has left; notes what the file is of where there are none. */
async function takeUp(
  sink: FileSink,
  { name, commit }: HubRepository,
  { path, sizeBytes, content }: HubFile,
): Promise<number> {
  // The content's name alone decides: the same bytes may be of another commit or mirror.
  const [noted] = await sink.journal.entries();
  const there = await stat(partialPath(sink.name));
  if (contentOf(noted) === `${content.kind} ${content.hex}` && there.size <= sizeBytes) return there.size;
  await sink.journal.clear();
  const note = { repository: name, commit, path, sizeBytes, content: `${content.kind} ${content.hex}` };
  await sink.journal.append(JSON.stringify(note));
  return 0;
}

function contentOf(noted: string | undefined): unknown {
  try {
    return noted === undefined ? null : (JSON.parse(noted) as { content?: unknown } | null)?.content;
  } catch {
    // Cut short by what ended the program.
    return null;
  }
}
