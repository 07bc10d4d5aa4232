/**
 * A checkpoint folder as conversion sees it: a list of names, and bytes by name. Injected, so that the same code reads a
 * directory (`./convert/node`), files dropped on a page, or memory.
 */
import { type ByteSource, FormatError, memorySource } from "@flashwick/core";
import { crc32c } from "../crc32c.js";

/** The files of a checkpoint, wherever they are. */
export interface CheckpointFolder {
  /** For messages and for the model's name: a path, a URL, "memory". */
  readonly name: string;
  /** Names of the files directly in the folder; conversion opens no other. */
  readonly fileNames: readonly string[];
  /** @param fileName One of `fileNames`. The caller closes the source. @throws {IoError} if it cannot be opened. */
  open(fileName: string): Promise<ByteSource>;
  /** Changes whenever the file's bytes may have: its size and time, say. Decides if an unfinished conversion may be continued. */
  identify(fileName: string): Promise<string>;
}

/** A {@link CheckpointFolder} over bytes in memory; they are not copied. */
export function memoryFolder(files: ReadonlyMap<string, Uint8Array>, name = "memory"): CheckpointFolder {
  const find = (fileName: string): Uint8Array => {
    const bytes = files.get(fileName);
    if (!bytes) throw new FormatError("CHECKPOINT_FILE", `${name}: there is no file ${fileName}`);
    return bytes;
  };
  return {
    name,
    fileNames: [...files.keys()],
    open: async (fileName) => memorySource(find(fileName), fileName),
    identify: async (fileName) => `${find(fileName).byteLength} bytes, crc32c ${crc32c(find(fileName))}`,
  };
}
