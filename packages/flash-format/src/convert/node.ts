/** Checkpoints in the file system: the only file of conversion that needs Node. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { FormatError } from "@flashwick/core";
import { fileSource } from "../node/file-source.js";
import type { CheckpointFolder } from "./checkpoint-folder.js";

/**
 * Opens a folder that holds a Hugging Face checkpoint: config.json, weights, and usually a tokenizer. Links are followed, as the
 * hub's cache needs.
 *
 * @throws {FormatError} `CHECKPOINT_NOT_FOUND` if `path` is not a folder that can be read.
 */
export async function openCheckpointFolder(path: string): Promise<CheckpointFolder> {
  const fileNames = await listFolder(path);
  return {
    name: path,
    fileNames,
    open: (fileName) => fileSource(join(path, fileName)),
    identify: (fileName) => identifyFile(join(path, fileName)),
  };
}

/** A text that changes whenever the bytes of a file may have: its size and time. */
export async function identifyFile(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  return `${size} bytes, modified ${mtimeMs}`;
}

async function listFolder(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const problem =
      code === "ENOENT"
        ? "does not exist"
        : code === "ENOTDIR"
          ? "is not a folder"
          : `cannot be read: ${String(cause)}`;
    throw new FormatError(
      "CHECKPOINT_NOT_FOUND",
      `${path}: ${problem}; give the folder of a Hugging Face checkpoint, with config.json and weights`,
      { cause, details: { folder: path } },
    );
  }
}
