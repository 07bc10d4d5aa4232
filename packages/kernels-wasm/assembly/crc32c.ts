/**
 * CRC-32C (Castagnoli), sixteen bytes a step by sixteen tables ("slicing", Kounavis and Berry 2005).
 *
 * Polynomial 0x1EDC6F41, reflected 0x82F63B78; initial value and final xor 0xFFFFFFFF (RFC 3720, appendix B.4).
 * The tables are the only thing that this module keeps in memory, at the bottom of the arena. Every instance writes the same
 * values there, so instances of several threads over one arena do not disturb each other.
 */

const POLYNOMIAL_REFLECTED: u32 = 0x82f63b78;
const SLICES: usize = 16;
/** `TABLES + 4·(256·k + b)`: the CRC of byte b followed by k zero bytes. */
const TABLES: usize = memory.data(4 * 256 * 16, 16);

/** Runs once, when the module is instantiated. */
export function fillTables(): void {
  for (let b: u32 = 0; b < 256; b++) {
    let crc = b;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ POLYNOMIAL_REFLECTED : crc >> 1;
    store<u32>(TABLES + 4 * b, crc);
  }
  for (let i: usize = 256; i < 256 * SLICES; i++) {
    const before = load<u32>(TABLES + 4 * (i - 256));
    store<u32>(TABLES + 4 * i, (before >> 8) ^ load<u32>(TABLES + 4 * (before & 0xff)));
  }
}

/** Entry of table k for byte `shift`/8 of `word`. */
@inline
function entry(k: usize, word: u64, shift: u64): u32 {
  return load<u32>(TABLES + 1024 * k + 4 * <usize>((word >> shift) & 0xff));
}

export function crc32c(ptr: usize, sizeBytes: usize, seed: u32): u32 {
  let crc = ~seed;
  const end = ptr + sizeBytes;
  for (const bulkEnd = ptr + (sizeBytes & ~15); ptr != bulkEnd; ptr += 16) {
    const a = load<u64>(ptr) ^ <u64>crc, b = load<u64>(ptr, 8);
    // What depends on the previous step comes last, so that the rest can run ahead of it.
    const rest =
      entry(7, b, 0) ^ entry(6, b, 8) ^ entry(5, b, 16) ^ entry(4, b, 24) ^
      entry(3, b, 32) ^ entry(2, b, 40) ^ entry(1, b, 48) ^ entry(0, b, 56) ^
      entry(11, a, 32) ^ entry(10, a, 40) ^ entry(9, a, 48) ^ entry(8, a, 56);
    crc = entry(15, a, 0) ^ entry(14, a, 8) ^ entry(13, a, 16) ^ entry(12, a, 24) ^ rest;
  }
  for (; ptr != end; ptr++) crc = (crc >> 8) ^ load<u32>(TABLES + 4 * ((crc ^ load<u8>(ptr)) & 0xff));
  return ~crc;
}
