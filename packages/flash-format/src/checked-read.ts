/** Reading a stored piece of bytes together with its checksum. */
import { type ByteSource, FlashwickError, IntegrityError } from "@flashwick/core";
import { hex } from "./container.js";
import { crc32c } from "./crc32c.js";

/** One read: large enough for full sequential bandwidth, small enough to cancel between. */
const READ_BYTES = 4 * 1024 * 1024;

export interface StoredBytes {
  /** Absolute. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** Null: nothing is known that the bytes could be held against. */
  readonly crc32c: number | null;
}

/**
 * Reads a tensor's bytes and checks them.
 *
 * @param target Exactly `stored.sizeBytes` long; may lie in shared memory. Undefined after a failure.
 * @throws {IntegrityError} `INTEGRITY_TENSOR`. {FlashwickError} `SHAPE` if `target` has another length.
 */
export async function readChecked(
  source: ByteSource,
  name: string,
  stored: StoredBytes,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  if (target.byteLength !== stored.sizeBytes) {
    const found = target.byteLength;
    throw new FlashwickError("SHAPE", `${name}: expected a target of ${stored.sizeBytes} bytes, found ${found}`);
  }
  let crc = 0;
  for (let at = 0; at < target.byteLength; at += READ_BYTES) {
    const part = target.subarray(at, at + READ_BYTES);
    await source.read(part, stored.offset + at, signal);
    crc = crc32c(part, crc);
  }
  if (stored.crc32c === null || crc === stored.crc32c) return;
  const { offset, crc32c: expected } = stored;
  throw new IntegrityError(
    "INTEGRITY_TENSOR",
    `${source.name} @ ${offset}: tensor "${name}" has CRC-32C ${hex(crc)}, expected ${hex(expected!)}; the file is damaged, fetch or convert it again`,
    { details: { tensor: name, offset, expected, found: crc } },
  );
}
