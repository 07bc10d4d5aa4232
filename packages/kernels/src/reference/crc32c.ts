/**
 * CRC-32C (Castagnoli), a byte at a time with one table.
 *
 * Polynomial 0x1EDC6F41, reflected 0x82F63B78; initial value and final xor 0xFFFFFFFF (RFC 3720, appendix B.4).
 */
import type { Ptr } from "../arena.js";
import type { ArenaViews } from "./arena-views.js";

const POLYNOMIAL_REFLECTED = 0x82f63b78;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL_REFLECTED : crc >>> 1;
  return crc;
});

/** See `Kernels.crc32c`. Returns an unsigned 32-bit integer. */
export function crc32c({ u8 }: ArenaViews, ptr: Ptr, sizeBytes: number, seed: number): number {
  let crc = ~seed;
  for (let i = ptr; i < ptr + sizeBytes; i++) crc = (crc >>> 8) ^ TABLE[(crc ^ u8[i]!) & 0xff]!;
  return ~crc >>> 0;
}
