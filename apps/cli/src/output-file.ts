/** Small output files, written whole or not at all: a temporary name, then renamed; an existing one needs `--force`. */
import { existsSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { IoError } from "@flashwick/core";

/** @throws {IoError} `IO_EXISTS`. For before the work that the file is made by. */
export function checkOutput(path: string | undefined, force: boolean | undefined): void {
  if (path === undefined || force || !existsSync(path)) return;
  throw new IoError("IO_EXISTS", `${path}: expected no file of this name; use --force to replace it`, {
    details: { path },
  });
}

/** @throws {IoError} `IO_WRITE`. */
export async function writeOutput(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, content);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new IoError("IO_WRITE", `${path}: writing failed (${(cause as Error).message})`, {
      cause,
      details: { path },
    });
  }
}
