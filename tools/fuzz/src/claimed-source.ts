/** A file of which only the beginning is there: the rest reads as zeros, so that a header of a large model needs no large file. */
import { type ByteSource, InputError, IoError, truncatedError } from "@flashwick/core";
import { BrokenPromise } from "./harness.js";

/** More is no file that a reader of headers may read. */
const MOST_READ_BYTES = 2 ** 28;

/** @param sizeBytes What the file claims to have, at least its beginning. @param siblings Files beside it, by name. */
export function claimedSource(
  bytes: Uint8Array,
  sizeBytes: number,
  name: string,
  siblings: ReadonlyMap<string, ByteSource> = new Map(),
): ByteSource {
  return {
    name,
    sizeBytes,
    async read(target, offset) {
      if (!Number.isSafeInteger(offset)) throw new BrokenPromise(`read at ${offset}`);
      if (offset < 0 || offset + target.byteLength > sizeBytes) {
        throw truncatedError(name, offset, target.byteLength, sizeBytes);
      }
      if (target.byteLength > MOST_READ_BYTES) throw new BrokenPromise(`a read of ${target.byteLength} bytes`);
      const there = bytes.subarray(offset, offset + target.byteLength);
      target.set(there);
      target.fill(0, there.length);
    },
    async close() {},
    async openSibling(sibling) {
      // A name without a folder, as the contract says: whatever stands in the file.
      if (/[\\/\0]/.test(sibling) || sibling === "" || sibling === "." || sibling === "..") {
        throw new BrokenPromise(`opens ${JSON.stringify(sibling)}, which may lie outside of the folder`);
      }
      const found = siblings.get(sibling);
      if (found) return found;
      throw new IoError("IO_NOT_FOUND", `${sibling}: not there`);
    },
  };
}

/** Ends a harness where what follows would need the rest of a file. */
export function enough(): InputError {
  return new InputError("INPUT_INVALID", "the harness reads no further");
}
