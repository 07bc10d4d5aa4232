/**
 * Positional reads: the one way in which flashwick looks at stored bytes that are not neuron records.
 * Implementations: a file (flash-io/node), memory (below), later OPFS and HTTP ranges.
 */
import { FormatError } from "./errors.js";

/** A file of a source that lies in several (joined-source.ts). */
export interface SourcePart {
  /** As {@link ByteSource.name}. */
  readonly name: string;
  /** Offset of its first byte among those of all. */
  readonly begin: number;
  readonly sizeBytes: number;
}

/** Bytes that are read by position: a file, a range of a web server, memory. */
export interface ByteSource {
  /** For messages: a path, a URL, "memory". */
  readonly name: string;
  readonly sizeBytes: number;
  /**
   * Fills `target` with the bytes at `offset`. Reads exactly `target.byteLength` bytes or throws.
   *
   * @param offset Bytes from the start; a safe integer.
   * @throws {FormatError} `FORMAT_TRUNCATED` if the source ends first. {IoError} `IO_READ` if the device fails.
   */
  read(target: Uint8Array, offset: number, signal?: AbortSignal): Promise<void>;
  /** Also closes the siblings that it has opened. */
  close(): Promise<void>;
  /** The files that the bytes lie in, where these are several. */
  readonly parts?: readonly SourcePart[];
  /**
   * Opens another file beside this one. Absent where none can be opened from here.
   *
   * @param name Without a folder.
   * @throws {IoError} `IO_NOT_FOUND`, `IO_READ`.
   */
  openSibling?(name: string): Promise<ByteSource>;
}

/** Sequential-by-plan writes; the writer decides offsets, holes read as zero. */
export interface ByteSink {
  readonly name: string;
  /** @throws {IoError} `IO_NO_SPACE` when the device is full, else `IO_WRITE`. */
  write(bytes: Uint8Array, offset: number): Promise<void>;
  /** Fills `target` from what was written before: needed to resume. */
  read(target: Uint8Array, offset: number): Promise<void>;
  /** Makes everything durable and gives the file its final name. Nothing is visible under that name before. */
  commit(sizeBytes: number): Promise<void>;
  /** Drops everything written. Safe to call twice and after `commit` or `suspend` (then it does nothing). */
  abandon(): Promise<void>;
  /** Ends the writing and keeps what was written for a later run, where the sink outlasts this one; then does nothing, as `abandon`. */
  suspend(): Promise<void>;
}

/** The error of a read beyond the end, with the numbers that a reader of the message needs. */
export function truncatedError(name: string, offset: number, wantedBytes: number, sizeBytes: number): FormatError {
  return new FormatError(
    "FORMAT_TRUNCATED",
    `${name} @ ${offset}: expected ${wantedBytes} bytes, but the file ends at ${sizeBytes}; it is truncated, fetch or convert it again`,
    { details: { offset, wantedBytes, sizeBytes } },
  );
}

/** A {@link ByteSource} over bytes in memory; they are not copied. */
export function memorySource(bytes: Uint8Array, name = "memory"): ByteSource {
  return {
    name,
    sizeBytes: bytes.byteLength,
    async read(target, offset, signal) {
      signal?.throwIfAborted();
      const end = offset + target.byteLength;
      if (offset < 0 || end > bytes.byteLength) throw truncatedError(name, offset, target.byteLength, bytes.byteLength);
      target.set(bytes.subarray(offset, end));
    },
    async close() {},
  };
}
