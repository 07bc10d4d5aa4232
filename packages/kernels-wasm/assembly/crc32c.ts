/**
 * CRC-32C (Castagnoli): long inputs are folded by a sparse multiple of the polynomial, what is left goes through tables.
 *
 * Polynomial P = 0x1EDC6F41, reflected 0x82F63B78; initial value and final xor 0xFFFFFFFF (RFC 3720, appendix B.4).
 *
 * Folding (after Russell 2024, "Chorba"). 1 + x^-40 + x^-45 + x^-80 + x^-85 + x^-100 + x^-101 + x^-123, exponents in bytes, is
 * 0 mod P. So a byte may be taken from its place and added to the places 40, 45 … 123 bytes behind it, without changing
 * the CRC: sixteen bytes are y = m + y[-40] + y[-45] + …, where m is the message and y[-d] the sixteen bytes d before y. Eight vectors
 * of y remember 128 bytes; a distance that is no multiple of 16 is one shuffle of two neighbours. The last 128 bytes of
 * the bulk only receive. Found by a search over all sets of seven distances from 16 to 128, of which fifteen fit.
 *
 * Tables: sixteen bytes a step by sixteen tables ("slicing", Kounavis and Berry 2005). They are the only thing that this
 * module keeps in memory, at the bottom of the arena. Every instance writes the same values there, so instances of
 * several threads over one arena do not disturb each other.
 */
import { rowPointer } from "./row-product";

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

/** One step of the tables: the CRC `crc` continued by the sixteen bytes a, b. */
@inline
function sixteen(crc: u32, first: u64, b: u64): u32 {
  const a = first ^ <u64>crc;
  // What depends on the previous step comes last, so that the rest can run ahead of it.
  const rest =
    entry(7, b, 0) ^ entry(6, b, 8) ^ entry(5, b, 16) ^ entry(4, b, 24) ^
    entry(3, b, 32) ^ entry(2, b, 40) ^ entry(1, b, 48) ^ entry(0, b, 56) ^
    entry(11, a, 32) ^ entry(10, a, 40) ^ entry(9, a, 48) ^ entry(8, a, 56);
  return entry(15, a, 0) ^ entry(14, a, 8) ^ entry(13, a, 16) ^ entry(12, a, 24) ^ rest;
}

@inline
function sixteenOf(crc: u32, v: v128): u32 {
  return sixteen(crc, i64x2.extract_lane(v, 0), i64x2.extract_lane(v, 1));
}

/** The next y: message m and the eight before it, s1 the newest. */
@inline
function fold(m: v128, s8: v128, s7: v128, s6: v128, s5: v128, s4: v128, s3: v128, s2: v128): v128 {
  const by123 = v128.shuffle<u8>(s8, s7, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20);
  const by101 = v128.shuffle<u8>(s7, s6, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26);
  const by100 = v128.shuffle<u8>(s7, s6, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27);
  const by85 = v128.shuffle<u8>(s6, s5, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26);
  const by45 = v128.shuffle<u8>(s3, s2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18);
  const by40 = v128.shuffle<u8>(s3, s2, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23);
  const far = v128.xor(v128.xor(v128.xor(m, by123), v128.xor(by101, by100)), v128.xor(by85, s5));
  return v128.xor(far, v128.xor(by45, by40));
}

/** CRC state after `sizeBytes`, a multiple of 128 from 256 on. */
function folded(p: usize, sizeBytes: usize, crc: u32): u32 {
  const none = i32x4.splat(0);
  let a = none, b = none, c = none, d = none, e = none, f = none, g = none, h = none;
  // The state before counts as added to the first four bytes.
  let first = i32x4.replace_lane(none, 0, crc);
  for (const end = p + sizeBytes - 128; p != end; p += 128) {
    a = fold(v128.xor(v128.load(p), first), a, b, c, d, e, f, g);
    first = none;
    b = fold(v128.load(p, 16), b, c, d, e, f, g, h);
    c = fold(v128.load(p, 32), c, d, e, f, g, h, a);
    d = fold(v128.load(p, 48), d, e, f, g, h, a, b);
    e = fold(v128.load(p, 64), e, f, g, h, a, b, c);
    f = fold(v128.load(p, 80), f, g, h, a, b, c, d);
    g = fold(v128.load(p, 96), g, h, a, b, c, d, e);
    h = fold(v128.load(p, 112), h, a, b, c, d, e, f);
  }
  crc = sixteenOf(0, fold(v128.load(p), a, b, c, d, e, f, g));
  crc = sixteenOf(crc, fold(v128.load(p, 16), b, c, d, e, f, g, h));
  crc = sixteenOf(crc, fold(v128.load(p, 32), c, d, e, f, g, h, none));
  crc = sixteenOf(crc, fold(v128.load(p, 48), d, e, f, g, h, none, none));
  crc = sixteenOf(crc, fold(v128.load(p, 64), e, f, g, h, none, none, none));
  crc = sixteenOf(crc, fold(v128.load(p, 80), f, g, h, none, none, none, none));
  crc = sixteenOf(crc, fold(v128.load(p, 96), g, h, none, none, none, none, none));
  return sixteenOf(crc, fold(v128.load(p, 112), h, none, none, none, none, none, none));
}

export function crc32c(ptr: usize, sizeBytes: usize, seed: u32): u32 {
  let crc = ~seed;
  const end = ptr + sizeBytes;
  if (sizeBytes >= 256) {
    const bulk = sizeBytes & ~127;
    crc = folded(ptr, bulk, crc);
    ptr += bulk;
  }
  for (const bulkEnd = ptr + ((end - ptr) & ~15); ptr != bulkEnd; ptr += 16) {
    crc = sixteen(crc, load<u64>(ptr), load<u64>(ptr, 8));
  }
  for (; ptr != end; ptr++) crc = (crc >> 8) ^ load<u32>(TABLES + 4 * ((crc ^ load<u8>(ptr)) & 0xff));
  return ~crc;
}

/** out[i] = CRC-32C of the first `sizeBytes` of slot slots[i], u32, for i in [begin, end). */
export function crc32cSlots(
  out: usize, base: usize, stride: usize, sizeBytes: usize, slots: usize, begin: usize, end: usize,
): void {
  for (let i = begin; i < end; i++) {
    store<u32>(out + 4 * i, crc32c(rowPointer(base, stride, slots, i), sizeBytes, 0));
  }
}
