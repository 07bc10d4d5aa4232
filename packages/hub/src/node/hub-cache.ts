/**
 * The hub's cache on this disk, which other programs fill: read, and never written.
 *
 *     <cache>/models--<owner>--<name>/blobs/<name of the content>
 *     <cache>/models--<owner>--<name>/snapshots/<commit>/<path>       a link to the blob, or a file where links cannot be made
 */
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import type { HubFile, HubRepository } from "../hub-repository.js";

/** @returns Where a file of this size and name lies, its bytes not yet looked at; null: nowhere. */
export async function findCached(
  cacheFolder: string,
  { name, commit }: Pick<HubRepository, "name" | "commit">,
  { path, sizeBytes, content }: HubFile,
): Promise<string | null> {
  const folder = join(cacheFolder, `models--${name.replace("/", "--")}`);
  for (const place of [join(folder, "blobs", content.hex), join(folder, "snapshots", commit, path)]) {
    const found = await stat(place).catch(() => null);
    // Its real place: a hard link to a symbolic one would be one itself.
    if (found?.isFile() && found.size === sizeBytes) return await realpath(place);
  }
  return null;
}
