/**
 * The open model file: whether it can be read past the page cache, what alignment that asks for, and whether it is still the
 * file that was opened.
 */
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { IntegrityError, IoError, UnsupportedError } from "@flashwick/core";

/** `auto`: direct where possible. true: direct or an error. false: buffered. */
export type DirectMode = "auto" | boolean;

/** How a file can be read. */
interface Access {
  readonly fd: number;
  /** What direct reads ask of offsets, sizes and pointers; 1 for buffered ones. */
  readonly alignmentBytes: number;
  readonly direct: boolean;
  /** Why reads are buffered although direct ones were wanted. */
  readonly fallback: string | null;
}

/** Alignments that devices ask for, finest first. */
const ALIGNMENTS = [512, 1024, 2048, 4096];

export class FlashFile {
  readonly sizeBytes: number;
  /** Of the file system that the file lies on: `st_dev`. */
  readonly device: string;
  readonly #opened: BigIntStats;
  #closed = false;

  constructor(
    readonly path: string,
    readonly access: Access,
  ) {
    this.#opened = fstatSync(access.fd, { bigint: true });
    this.sizeBytes = Number(this.#opened.size);
    this.device = String(this.#opened.dev);
  }

  /**
   * Compares the file with what was opened. A deleted file is fine: its bytes stay as long as it is open. Cost: two system
   * calls, about 5 us.
   *
   * @throws {IntegrityError} `IO_FILE_CHANGED` if it was written to, cut, or if its path names another file by now.
   */
  checkUnchanged(): void {
    const { path } = this;
    const opened = this.#opened;
    const now = statOrNull(() => fstatSync(this.access.fd, { bigint: true }));
    if (now !== null && now.size !== opened.size) {
      throw changed(path, `has ${now.size} bytes, ${opened.size} when it was opened`);
    }
    if (now !== null && now.mtimeNs !== opened.mtimeNs) throw changed(path, "was written to");
    const named = statOrNull(() => statSync(path, { bigint: true }));
    if (named !== null && (named.ino !== opened.ino || named.dev !== opened.dev)) {
      throw changed(path, "was replaced by another file");
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      closeSync(this.access.fd);
    } catch (cause) {
      // Closed behind our back: what close() promises holds.
      if ((cause as NodeJS.ErrnoException).code !== "EBADF") throw cause;
    }
  }
}

/**
 * Opens `path` for reading, past the page cache if `direct` and the file system allow.
 *
 * @throws {IoError} `IO_NOT_FOUND` or `IO_READ` when it cannot be opened. {UnsupportedError} for `direct: true` where direct
 *   reads are refused.
 */
export function openFlashFile(path: string, direct: DirectMode): FlashFile {
  let refusal: string | null = null;
  if (direct !== false) {
    const access = openDirect(path);
    if (typeof access !== "string") return new FlashFile(path, access);
    refusal = access;
    if (direct === true) {
      throw new UnsupportedError(
        "UNSUPPORTED_FEATURE",
        `${path}: direct reads are wanted, but ${refusal}; allow buffered`,
      );
    }
  }
  const fd = openOrThrow(path, constants.O_RDONLY);
  return new FlashFile(path, { fd, alignmentBytes: 1, direct: false, fallback: refusal });
}

/** The direct access, or in words why there is none. */
function openDirect(path: string): Access | string {
  if (constants.O_DIRECT === undefined) return `Node has no O_DIRECT on ${process.platform}`;
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_DIRECT);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EINVAL" || code === "ENOTSUP" || code === "EOPNOTSUPP")
      return `the file system refuses O_DIRECT (${code})`;
    throw openError(path, error);
  }
  const alignmentBytes = findAlignment(fd);
  if (alignmentBytes !== null) return { fd, alignmentBytes, direct: true, fallback: null };
  closeSync(fd);
  return `no alignment up to ${ALIGNMENTS.at(-1)} bytes is accepted for direct reads`;
}

/** The finest alignment that works, by trying; null if none does. An error that is not of alignment is left to the first read. */
function findAlignment(fd: number): number | null {
  const memory = new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer);
  for (const alignment of ALIGNMENTS) {
    try {
      // At an odd multiple, of offset as of pointer. At the file's start too: nothing is checked beyond its end.
      readSync(fd, memory, alignment, alignment, alignment);
      readSync(fd, memory, alignment, alignment, 0);
      return alignment;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EINVAL") return ALIGNMENTS.at(-1)!;
    }
  }
  return null;
}

function openOrThrow(path: string, flags: number): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    throw openError(path, error);
  }
}

function openError(path: string, cause: unknown): IoError {
  const { code, message } = cause as NodeJS.ErrnoException;
  return new IoError(code === "ENOENT" ? "IO_NOT_FOUND" : "IO_READ", `${path}: cannot be opened (${message})`, {
    cause,
  });
}

function statOrNull(stat: () => BigIntStats): BigIntStats | null {
  try {
    return stat();
  } catch {
    // Gone, or closed behind our back: for the read to report, if it matters.
    return null;
  }
}

function changed(path: string, how: string): IntegrityError {
  return new IntegrityError("IO_FILE_CHANGED", `${path}: the file ${how} while it was open; open it again`, {
    details: { path },
  });
}
