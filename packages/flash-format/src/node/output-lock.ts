/**
 * One writer of a path at a time: a name that the system gives to one process, and takes back when that process ends, however it ends. So no lock is ever left
 * behind, and none has to be judged by a process number that may be somebody else's by now.
 *
 * The name is that of a local socket: abstract on Linux (unix(7)), a pipe on Windows. Where there is neither (macOS), and between machines or containers that
 * share a disk but no network namespace, nothing is locked.
 */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { basename, dirname } from "node:path";
import { IoError } from "@flashwick/core";
import { writeError } from "./file-errors.js";

/** Held until it is released, or the process ends. */
export interface OutputLock {
  /** Safe to call twice. */
  release(): void;
}

/**
 * Takes the lock of the file `path`, which need not be there; its folder must be.
 *
 * @throws {IoError} `IO_BUSY` if somebody else holds it, in this process too; `IO_WRITE` if the folder is not there.
 */
export async function lockOutput(path: string, platform: string = process.platform): Promise<OutputLock> {
  const folder = await stat(dirname(path), { bigint: true }).catch((cause: unknown) => {
    throw writeError(path, cause);
  });
  // One folder has many names.
  const name = socketName(`${folder.dev} ${folder.ino} ${basename(path)}`, platform);
  const server = name === null ? null : await listen(name, path);
  return { release: () => void server?.close() };
}

function socketName(subject: string, platform: string): string | null {
  const name = `flashwick-writes-${createHash("sha256").update(subject).digest("hex")}`;
  if (platform === "linux") return `\0${name}`;
  return platform === "win32" ? `\\\\.\\pipe\\${name}` : null;
}

/** Null where the system lets nobody listen: then nothing is locked. */
async function listen(name: string, path: string): Promise<Server | null> {
  const server = createServer((socket) => socket.destroy());
  server.unref();
  const code = await new Promise<string | null>((resolve) => {
    server.once("error", ({ code = "UNKNOWN" }: NodeJS.ErrnoException) => resolve(code));
    server.listen({ path: name, exclusive: true }, () => resolve(null));
  });
  if (code === null) return server;
  if (code !== "EADDRINUSE") return null;
  throw new IoError("IO_BUSY", `${path}: somebody else is writing it; wait for that to end, or choose another name`, {
    details: { path },
  });
}
