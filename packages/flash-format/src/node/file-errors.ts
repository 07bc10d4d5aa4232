/** Failures of the file system as typed errors. */
import { IoError } from "@flashwick/core";

function codeOf(cause: unknown): string | undefined {
  return (cause as NodeJS.ErrnoException | null)?.code;
}

export function openError(path: string, cause: unknown): IoError {
  if (codeOf(cause) === "ENOENT")
    return new IoError("IO_NOT_FOUND", `${path}: no such file; check the path`, { cause });
  return new IoError("IO_READ", `${path}: cannot be opened: ${(cause as Error).message}`, { cause });
}

/** `IO_NO_SPACE` when the device or the quota is full, else `IO_WRITE`. */
export function writeError(path: string, cause: unknown): IoError {
  const code = codeOf(cause);
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new IoError("IO_NO_SPACE", `${path}: no space left on the device; free some, or write elsewhere`, { cause });
  }
  if (code === "ENOENT")
    return new IoError("IO_WRITE", `${path}: its directory does not exist; create it first`, { cause });
  const { message } = cause as Error;
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    const text = `${path}: writing is not permitted (${message}); change the permissions, or write elsewhere`;
    return new IoError("IO_WRITE", text, { cause });
  }
  return new IoError("IO_WRITE", `${path}: writing failed (${message}); check the device, or write elsewhere`, {
    cause,
  });
}
