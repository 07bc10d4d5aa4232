/** Small output files, written whole or not at all; an existing one needs `--force`. */
import { existsSync } from "node:fs";
import { IoError } from "@flashwick/core";
import { fileSink } from "@flashwick/flash-format/node";

/** @throws {IoError} `IO_EXISTS`. For before the work that the file is made by. */
export function checkOutput(path: string | undefined, force: boolean | undefined): void {
  if (path === undefined || force || !existsSync(path)) return;
  throw new IoError("IO_EXISTS", `${path}: expected no file of this name; use --force to replace it`, {
    details: { path },
  });
}

/**
 * Replaces what is there: {@link checkOutput} has been asked. Durable when it returns.
 *
 * @throws {IoError} `IO_WRITE`, `IO_NO_SPACE`, and `IO_BUSY` while somebody else writes it.
 */
export async function writeOutput(path: string, content: string | Uint8Array): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const sink = await fileSink(path, { force: true });
  try {
    await sink.write(bytes, 0);
    await sink.commit(bytes.length);
  } catch (error) {
    // Should abandoning fail as well, the first failure is the one to report.
    await sink.abandon().catch(() => {});
    throw error;
  }
}
