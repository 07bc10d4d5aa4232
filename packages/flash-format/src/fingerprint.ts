/**
 * The fingerprint of a model: which weights it was made from, whatever the dtype, layout or stride of the file.
 *
 * SHA-256, in hex, over one line per tensor, sorted by name (code units): `name TAB rows TAB cols TAB crc NEWLINE`, where
 * crc is the CRC-32C of the checkpoint's own bytes, eight hex digits.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import type { TensorShape } from "./model-writer.js";

/** A tensor of the checkpoint, by what the fingerprint says of it. */
export interface SourceTensor extends TensorShape {
  readonly sourceCrc32c: number;
}

/**
 * @param tensors Every resident tensor, each layer's records as `blk.<l>.ffn` `[dFf, dModel]`, and where neurons were placed each layer's
 * permutation as `blk.<l>.ffn_placement` `[1, dFf]`.
 */
export function modelFingerprint(tensors: readonly SourceTensor[]): string {
  const lines = tensors.map((tensor) => {
    const crc = tensor.sourceCrc32c.toString(16).padStart(8, "0");
    return `${tensor.name}\t${tensor.rows}\t${tensor.cols}\t${crc}\n`;
  });
  return sha256Hex(lines.sort().join(""));
}

/** SHA-256 of a text's UTF-8, in hex. */
export function sha256Hex(text: string): string {
  return bytesToHex(sha256(utf8ToBytes(text)));
}

/** Sixty-four hex digits: a fingerprint's form, and its placeholder before it is known. */
export const BLANK_FINGERPRINT = "0".repeat(64);

export function isFingerprint(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}
