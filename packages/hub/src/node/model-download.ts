/** A model of a hub, onto this disk: all files that belong to it, in the layout in which they are used. */
import { mkdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { IoError, type OnProgress } from "@flashwick/core";
import { partialPath } from "@flashwick/flash-format/node";
import { type HubModel, lastPart } from "../hub-models.js";
import type { HubRepository } from "../hub-repository.js";
import { type DownloadedFile, type DownloadOptions, downloadFile } from "./file-download.js";

/** How the files of a model are downloaded. */
export interface ModelDownloadOptions extends DownloadOptions {
  /** Phase "fetch", in bytes of all files. */
  readonly onProgress?: OnProgress | undefined;
  /** Bytes that a folder's device has free. Default: what the file system says. */
  readonly freeBytes?: (folder: string) => Promise<number>;
}

/** GGUF files lie in the folder itself, a checkpoint's in one of its own. */
function localFolder(model: HubModel, folder: string): string {
  return model.kind === "gguf" ? folder : join(folder, model.localName);
}

/** Where each of a model's files comes to lie. */
export function localFiles(model: HubModel, folder: string): string[] {
  return model.files.map(({ path }) => join(localFolder(model, folder), lastPart(path)));
}

/** What is given to the next command: the GGUF file, the first of a split one, or the checkpoint's folder. */
export function localPath(model: HubModel, folder: string): string {
  return join(folder, model.localName);
}

/**
 * Brings all files of a model to this disk. Files that are there already stay; what an interrupted call has left is gone on with.
 *
 * @param folder Made if it is not there.
 * @throws {IoError} `IO_NO_SPACE` before anything is fetched if the device has no room for all of it, `IO_EXISTS` for another file of the same name,
 * `IO_WRITE`, and as `HubRepository.open`. {IntegrityError} `INTEGRITY_DOWNLOAD` for other bytes than the hub lists: they are dropped. The signal's own reason.
 */
export async function downloadModel(
  repository: HubRepository,
  model: HubModel,
  folder: string,
  { onProgress, freeBytes = freeBytesOf, ...options }: ModelDownloadOptions,
): Promise<DownloadedFile[]> {
  const own = localFolder(model, folder);
  await makeFolder(own);
  await checkRoom(model, folder, await freeBytes(own));
  const downloaded: DownloadedFile[] = [];
  let before = 0;
  const paths = localFiles(model, folder);
  for (const [i, file] of model.files.entries()) {
    const detail = lastPart(file.path);
    const onBytes = (bytes: number) =>
      onProgress?.({ phase: "fetch", loaded: before + bytes, total: model.sizeBytes, unit: "bytes", detail });
    downloaded.push(await downloadFile(repository, file, paths[i]!, { ...options, onBytes }));
    before += file.sizeBytes;
  }
  return downloaded;
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((cause: Error) => {
    const message = `${folder}: the folder cannot be made (${cause.message}); pull into another one`;
    throw new IoError("IO_WRITE", message, { cause, details: { path: folder } });
  });
}

async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** @throws {IoError} `IO_NO_SPACE` with what is missing. */
async function checkRoom(model: HubModel, folder: string, freeBytes: number): Promise<void> {
  let neededBytes = 0;
  for (const [i, file] of localFiles(model, folder).entries()) {
    const { sizeBytes } = model.files[i]!;
    const there = (await sizeOf(file)) ?? (await sizeOf(partialPath(file))) ?? 0;
    neededBytes += Math.max(0, sizeBytes - there);
  }
  if (neededBytes <= freeBytes) return;
  throw new IoError(
    "IO_NO_SPACE",
    `${folder}: ${neededBytes} more bytes are needed, but its device has ${freeBytes} free; free some, or pull into a folder on another device`,
    { details: { path: folder, neededBytes, freeBytes } },
  );
}

async function sizeOf(path: string): Promise<number | null> {
  return await stat(path).then(
    ({ size }) => size,
    () => null,
  );
}
