/**
 * The scales of one block of 256 in each of four rows, for sums of 16-bit numbers. The table is that of block-scales.ts, but each of the 16 scales stands twice
 * in its lane, as i16: the last step that adds a row's lanes up multiplies them, too (byte-rows.ts).
 */
import { fourWords, halvesOf256, lowNibbles } from "./block-bytes";
import { MINIMA_AT, SCALES_AT, TURNED_AT, fourHalfWords, turn } from "./block-scales";

/** Byte k of each lane as both of its i16, at 16 · k; a number with its highest bit set selects a zero. A byte earlier they are the upper halves of the i16. */
const TWICE = memory.data<u8>([
  128, 0, 128, 0, 128, 4, 128, 4, 128, 8, 128, 8, 128, 12, 128, 12,
  128, 1, 128, 1, 128, 5, 128, 5, 128, 9, 128, 9, 128, 13, 128, 13,
  128, 2, 128, 2, 128, 6, 128, 6, 128, 10, 128, 10, 128, 14, 128, 14,
  128, 3, 128, 3, 128, 7, 128, 7, 128, 11, 128, 11, 128, 15, 128, 15, 128,
]);
const SIX_BITS = memory.data<i32>([0x3f3f3f3f, 0x3f3f3f3f, 0x3f3f3f3f, 0x3f3f3f3f]);
const UPPER_TWO = memory.data<i32>([0x30303030, 0x30303030, 0x30303030, 0x30303030]);
const LOWER_TWO = memory.data<i32>([0x03030303, 0x03030303, 0x03030303, 0x03030303]);
const LOW_BYTE = memory.data<i32>([255, 255, 255, 255]);

/** D, N, scales and minima of the blocks of format T at four places. */
@inline
export function storeScales<T>(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  changetype<T>(0).twiceScales(table, p0, p1, p2, p3);
}

/** Byte k of each lane, twice. */
@inline
function twice(words: v128, k: usize): v128 {
  return i8x16.relaxed_swizzle(words, v128.load(TWICE + 16 * k, 1));
}

/** The same of bytes with signs. */
@inline
function twiceSigned(words: v128, k: usize): v128 {
  return i16x8.shr_s(i8x16.relaxed_swizzle(words, v128.load(TWICE + 16 * k)), 8);
}

/** Four scales. */
@inline
function storeFour(at: usize, words: v128): void {
  v128.store(at, twice(words, 0));
  v128.store(at, twice(words, 1), 16);
  v128.store(at, twice(words, 2), 32);
  v128.store(at, twice(words, 3), 48);
}

/** Four scales, each less 32. */
function storeFourLess32(at: usize, words: v128): void {
  const offset = i16x8.splat(32);
  v128.store(at, i16x8.sub(twice(words, 0), offset));
  v128.store(at, i16x8.sub(twice(words, 1), offset), 16);
  v128.store(at, i16x8.sub(twice(words, 2), offset), 32);
  v128.store(at, i16x8.sub(twice(words, 3), offset), 48);
}

/** Four minima. */
@inline
function storeFloats(at: usize, words: v128): void {
  const low = v128.load(LOW_BYTE);
  v128.store(at, f32x4.convert_i32x4_s(v128.and(words, low)));
  v128.store(at, f32x4.convert_i32x4_s(v128.and(i32x4.shr_u(words, 8), low)), 16);
  v128.store(at, f32x4.convert_i32x4_s(v128.and(i32x4.shr_u(words, 16), low)), 32);
  v128.store(at, f32x4.convert_i32x4_s(i32x4.shr_u(words, 24)), 48);
}

@inline
function storeTwoHalves(table: usize, words: v128): void {
  v128.store(table, halvesOf256(words));
  v128.store(table, halvesOf256(i32x4.shr_u(words, 16)), 16);
}

export function twiceScalesOfQ2K(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  storeTwoHalves(table, fourWords(p0 + 80, p1 + 80, p2 + 80, p3 + 80));
  turn(table + TURNED_AT, p0, p1, p2, p3);
  const four = lowNibbles();
  for (let i: usize = 0; i < 64; i += 16) {
    const words = v128.load(table + TURNED_AT + i);
    storeFour(table + SCALES_AT + 4 * i, v128.and(words, four));
    storeFloats(table + MINIMA_AT + 4 * i, v128.and(i32x4.shr_u(words, 4), four));
  }
}

/** Reads two bytes behind the block. */
export function twiceScalesOfQ3K(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  turn(table + TURNED_AT, p0 + 96, p1 + 96, p2 + 96, p3 + 96);
  const a = v128.load(table + TURNED_AT), b = v128.load(table + TURNED_AT, 16), c = v128.load(table + TURNED_AT, 32);
  v128.store(table, halvesOf256(v128.load(table + TURNED_AT, 48)));
  const four = lowNibbles(), lower = v128.load(LOWER_TWO), upper = v128.load(UPPER_TWO), at = table + SCALES_AT;
  storeFourLess32(at, v128.or(v128.and(a, four), i32x4.shl(v128.and(c, lower), 4)));
  storeFourLess32(at + 64, v128.or(v128.and(b, four), i32x4.shl(v128.and(i32x4.shr_u(c, 2), lower), 4)));
  storeFourLess32(at + 128, v128.or(v128.and(i32x4.shr_u(a, 4), four), v128.and(c, upper)));
  storeFourLess32(at + 192, v128.or(v128.and(i32x4.shr_u(b, 4), four), v128.and(i32x4.shr_u(c, 2), upper)));
}

/** Of Q5_K, too. */
export function twiceScalesOfQ4K(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  turn(table + TURNED_AT, p0, p1, p2, p3);
  storeTwoHalves(table, v128.load(table + TURNED_AT));
  const a = v128.load(table + TURNED_AT, 16), b = v128.load(table + TURNED_AT, 32), c = v128.load(table + TURNED_AT, 48);
  const four = lowNibbles(), six = v128.load(SIX_BITS), upper = v128.load(UPPER_TWO);
  storeFour(table + SCALES_AT, v128.and(a, six));
  storeFour(table + SCALES_AT + 64, v128.or(v128.and(c, four), v128.and(i32x4.shr_u(a, 2), upper)));
  storeFloats(table + MINIMA_AT, v128.and(b, six));
  storeFloats(table + MINIMA_AT + 64, v128.or(v128.and(i32x4.shr_u(c, 4), four), v128.and(i32x4.shr_u(b, 2), upper)));
}

export function twiceScalesOfQ6K(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  v128.store(table, halvesOf256(fourHalfWords(p0 + 208, p1 + 208, p2 + 208, p3 + 208)));
  turn(table + TURNED_AT, p0 + 192, p1 + 192, p2 + 192, p3 + 192);
  for (let i: usize = 0; i < 64; i += 16) {
    const words = v128.load(table + TURNED_AT + i), at = table + SCALES_AT + 4 * i;
    v128.store(at, twiceSigned(words, 0));
    v128.store(at, twiceSigned(words, 1), 16);
    v128.store(at, twiceSigned(words, 2), 32);
    v128.store(at, twiceSigned(words, 3), 48);
  }
}

/** The four lowest bits of each lane and, at bits 16 + 2j, two more: a scale and 32. */
export function twiceScalesOfIQ4XS(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  const first = fourWords(p0, p1, p2, p3), low = fourWords(p0 + 4, p1 + 4, p2 + 4, p3 + 4);
  v128.store(table, halvesOf256(first));
  const four = i32x4.splat(15), two = i32x4.splat(0x30), offset = i16x8.splat(32);
  for (let j = 0; j < 8; j++) {
    const upper = v128.and(i32x4.shr_u(first, 12 + 2 * j), two);
    const scale = v128.or(v128.and(i32x4.shr_u(low, 4 * j), four), upper);
    v128.store(table + SCALES_AT + 16 * <usize>j, i16x8.sub(v128.or(scale, i32x4.shl(scale, 16)), offset));
  }
}
