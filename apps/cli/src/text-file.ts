/** Text that a command is given as a file. */
import { readFile } from "node:fs/promises";
import { IoError } from "@flashwick/core";

/** @throws {IoError} `IO_NOT_FOUND`, `IO_READ`. */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw new IoError(
      missing ? "IO_NOT_FOUND" : "IO_READ",
      `${path}: cannot be read as text (${(cause as Error).message}); give the path of a text file`,
      { cause },
    );
  }
}
