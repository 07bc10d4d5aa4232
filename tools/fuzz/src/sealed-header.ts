/** Headers of our own files whose checksum is right whatever else they say: what stands behind the checksum is to be reached. */
import { crc32c, decodeGgufHeader } from "@flashwick/flash-format";

const KEY_CRC = "flashwick.header.crc32c";
const KEY_FILE_BYTES = "flashwick.file.size";

/** Of a file whose size is believed: its reader may take in as much as the file has. */
const MOST_CLAIMED_BYTES = 2 ** 22;

/** A header, and the size that it says its file has; null: it does not say, or says too much. */
export interface SealedHeader {
  readonly bytes: Uint8Array;
  readonly fileBytes: number | null;
}

/** @param input Changed in place where it is a header of ours. */
export function seal(input: Uint8Array): SealedHeader {
  try {
    const { metadata, valueOffsets, headerBytes } = decodeGgufHeader(input, "input");
    const at = valueOffsets.get(KEY_CRC);
    if (at === undefined || metadata.get(KEY_CRC)?.type !== "u32") return { bytes: input, fileBytes: null };
    const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
    view.setUint32(at, 0, true);
    view.setUint32(at, crc32c(input.subarray(0, headerBytes)), true);
    const size = metadata.get(KEY_FILE_BYTES);
    const fileBytes = size?.type === "u64" ? Number(size.value) : null;
    return { bytes: input, fileBytes: fileBytes !== null && fileBytes <= MOST_CLAIMED_BYTES ? fileBytes : null };
  } catch {
    return { bytes: input, fileBytes: null };
  }
}
