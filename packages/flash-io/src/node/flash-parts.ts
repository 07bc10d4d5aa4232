/** The open files of a model: one, or the parts of a split one, each at its place among the offsets of runs. */
import { partAt, type SourcePart } from "@flashwick/core";
import { type DirectMode, type FlashFile, openFlashFile } from "./flash-file.js";
import type { ThreadFile } from "./node-threads.js";

interface FlashPart {
  readonly file: FlashFile;
  readonly begin: number;
}

export class FlashParts {
  /** The first file's. */
  readonly path: string;
  readonly device: string;
  /** Of all files. */
  readonly sizeBytes: number;
  /** Whether every file is read past the page cache. */
  readonly direct: boolean;
  /** Why one is not, although that was wanted. */
  readonly fallback: string | null;
  /** What suits every file. */
  readonly alignmentBytes: number;
  readonly #parts: readonly FlashPart[];

  constructor(parts: readonly FlashPart[]) {
    this.#parts = parts;
    const files = parts.map(({ file }) => file);
    this.path = files[0]!.path;
    this.device = files[0]!.device;
    this.sizeBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    this.direct = files.every(({ access }) => access.direct);
    this.fallback = files.find(({ access }) => access.fallback !== null)?.access.fallback ?? null;
    this.alignmentBytes = Math.max(...files.map(({ access }) => access.alignmentBytes));
  }

  /** What a thread reads from. */
  get threadFiles(): readonly ThreadFile[] {
    return this.#parts.map(({ file, begin }) => ({ fd: file.access.fd, begin }));
  }

  /** An offset of runs as that of a file. */
  placeOf(offset: number): { readonly name: string; readonly offset: number } {
    const { file, begin } = partAt(this.#parts, offset);
    return { name: file.path, offset: offset - begin };
  }

  /** @throws As `FlashFile.checkUnchanged`. */
  checkUnchanged(): void {
    for (const { file } of this.#parts) file.checkUnchanged();
  }

  close(): void {
    for (const { file } of this.#parts) file.close();
  }
}

/**
 * Opens a model's file, or the parts of a split one.
 *
 * @throws As `openFlashFile`; nothing stays open then.
 */
export function openFlashParts(files: string | readonly SourcePart[], direct: DirectMode): FlashParts {
  const wanted = typeof files === "string" ? [{ name: files, begin: 0 }] : files;
  const opened: FlashPart[] = [];
  try {
    for (const { name, begin } of wanted) opened.push({ file: openFlashFile(name, direct), begin });
    return new FlashParts(opened);
  } catch (error) {
    for (const { file } of opened) file.close();
    throw error;
  }
}
