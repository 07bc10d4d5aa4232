/** Files of this disk, held against what a hub names their contents. */
import { createHash } from "node:crypto";
import { MiB } from "@flashwick/core";
import { fileSource } from "@flashwick/flash-format/node";
import { ContentCheck, type CreateHash } from "../content-check.js";
import type { HubFile } from "../hub-repository.js";

/** Node's own hashes: as fast as the processor's instructions for them. */
export const nodeHash: CreateHash = (algorithm) => createHash(algorithm);

const PIECE_BYTES = 4 * MiB;

/**
 * Feeds bytes that are already on the disk to a check.
 *
 * @param read As that of a `ByteSource` or `ByteSink`.
 */
export async function feed(
  check: ContentCheck,
  sizeBytes: number,
  read: (target: Uint8Array, offset: number) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const piece = new Uint8Array(Math.min(PIECE_BYTES, sizeBytes));
  for (let at = 0; at < sizeBytes; at += piece.length) {
    signal?.throwIfAborted();
    const target = piece.subarray(0, Math.min(piece.length, sizeBytes - at));
    await read(target, at);
    check.update(target);
  }
}

/**
 * Whether a file is what the hub lists.
 *
 * @returns Its SHA-256 if it is, else null.
 * @throws {IoError} `IO_READ`. The signal's own reason.
 * Cost: reads it once.
 */
export async function sameContent(
  path: string,
  file: HubFile,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const source = await fileSource(path);
  try {
    const check = new ContentCheck(file, nodeHash);
    await feed(check, source.sizeBytes, (target, offset) => source.read(target, offset), signal);
    const { sha256, isSame } = check.finish();
    return isSame ? sha256 : null;
  } finally {
    await source.close();
  }
}
