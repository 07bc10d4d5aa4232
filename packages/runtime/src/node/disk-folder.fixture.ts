/** Test support: a folder on the disk of the sources. A temporary folder may be memory, where nothing can be read directly. */
import { closeSync, constants, mkdirSync, mkdtempSync, openSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const cache = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));

/** Makes a fresh folder, which git ignores; the caller removes it. */
export function makeDiskFolder(name: string): string {
  mkdirSync(cache, { recursive: true });
  return mkdtempSync(join(cache, `${name}-`));
}

/** Why files there cannot be read past the page cache; null if they can. */
export function directReadsMissing(): string | null {
  if (constants.O_DIRECT === undefined) return `Node has no O_DIRECT on ${process.platform}`;
  try {
    closeSync(openSync(fileURLToPath(import.meta.url), constants.O_RDONLY | constants.O_DIRECT));
    return null;
  } catch (error) {
    return `the file system refuses O_DIRECT (${(error as NodeJS.ErrnoException).code})`;
  }
}
