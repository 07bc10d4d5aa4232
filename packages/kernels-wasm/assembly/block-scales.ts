/**
 * The scales of one block of 256 in each of four rows, a lane for each row:
 *
 *   table: D f32x4, N f32x4 (blocks with minima), 16 scales i32x4, 16 minima f32x4, room to turn words over
 *
 * Formats with one scale for 32 elements use the first eight. Sub-block scales are packed so that a shift and a mask take one from the words
 * of four rows at once.
 */
import { fourWords, halvesOf256 } from "./block-bytes";

/** Where scales and minima begin in a table, and its size. */
export const SCALES_AT: usize = 32;
export const MINIMA_AT: usize = 288;
export const TURNED_AT: usize = 544;
/** Sums of three rows, once the scales are there. */
export const WAITING_AT: usize = TURNED_AT;
export const TABLE_BYTES: usize = 608;

/** Sixteen bytes of each row: four vectors of words, one behind the other. */
export function turn(at: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  const a = v128.load(p0), b = v128.load(p1), c = v128.load(p2), d = v128.load(p3);
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  v128.store(at, v128.shuffle<i64>(ab, cd, 0, 2));
  v128.store(at, v128.shuffle<i64>(ab, cd, 1, 3), 16);
  const ef = v128.shuffle<i32>(a, b, 2, 6, 3, 7), gh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(at, v128.shuffle<i64>(ef, gh, 0, 2), 32);
  v128.store(at, v128.shuffle<i64>(ef, gh, 1, 3), 48);
}

/** The four bytes of each lane, less `offset`, as i32x4. */
@inline
function storeBytes(at: usize, words: v128, offset: i32): void {
  const low = i32x4.splat(255);
  v128.store(at, less(v128.and(words, low), offset));
  v128.store(at, less(v128.and(i32x4.shr_u(words, 8), low), offset), 16);
  v128.store(at, less(v128.and(i32x4.shr_u(words, 16), low), offset), 32);
  v128.store(at, less(i32x4.shr_u(words, 24), offset), 48);
}

@inline
function less(words: v128, offset: i32): v128 {
  return offset ? i32x4.sub(words, i32x4.splat(offset)) : words;
}

/** The same as f32x4. */
@inline
function storeFloats(at: usize, words: v128): void {
  const low = i32x4.splat(255);
  v128.store(at, f32x4.convert_i32x4_s(v128.and(words, low)));
  v128.store(at, f32x4.convert_i32x4_s(v128.and(i32x4.shr_u(words, 8), low)), 16);
  v128.store(at, f32x4.convert_i32x4_s(v128.and(i32x4.shr_u(words, 16), low)), 32);
  v128.store(at, f32x4.convert_i32x4_s(i32x4.shr_u(words, 24)), 48);
}

/** Bits `shift` and up of each byte, as many as the mask has. */
@inline
function field(words: v128, shift: i32, mask: i32): v128 {
  return v128.and(shift ? i32x4.shr_u(words, shift) : words, i32x4.splat(mask));
}

/** Two halves in each lane: D, then N. */
@inline
function storeTwoHalves(table: usize, words: v128): void {
  v128.store(table, halvesOf256(words));
  v128.store(table, halvesOf256(i32x4.shr_u(words, 16)), 16);
}

/** Sixteen bytes: scale in the low nibble, minimum in the high one. */
export function scalesOfQ2K(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  storeTwoHalves(table, fourWords(p0 + 80, p1 + 80, p2 + 80, p3 + 80));
  turn(table + TURNED_AT, p0, p1, p2, p3);
  for (let i: usize = 0; i < 64; i += 16) {
    const words = v128.load(table + TURNED_AT + i);
    storeBytes(table + SCALES_AT + 4 * i, field(words, 0, 0x0f0f0f0f), 0);
    storeFloats(table + MINIMA_AT + 4 * i, field(words, 4, 0x0f0f0f0f));
  }
}

/** Sixteen scales in twelve bytes, then D. Reads two bytes behind the block. */
export function scalesOfQ3K(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  turn(table + TURNED_AT, p0 + 96, p1 + 96, p2 + 96, p3 + 96);
  const a = v128.load(table + TURNED_AT), b = v128.load(table + TURNED_AT, 16), upper = v128.load(table + TURNED_AT, 32);
  v128.store(table, halvesOf256(v128.load(table + TURNED_AT, 48)));
  const at = table + SCALES_AT;
  storeBytes(at, v128.or(field(a, 0, 0x0f0f0f0f), i32x4.shl(field(upper, 0, 0x03030303), 4)), 32);
  storeBytes(at + 64, v128.or(field(b, 0, 0x0f0f0f0f), i32x4.shl(field(upper, 2, 0x03030303), 4)), 32);
  storeBytes(at + 128, v128.or(field(a, 4, 0x0f0f0f0f), field(upper, 0, 0x30303030)), 32);
  storeBytes(at + 192, v128.or(field(b, 4, 0x0f0f0f0f), field(upper, 2, 0x30303030)), 32);
}

/** Of Q5_K, too: D, N, then eight scales and eight minima in twelve bytes. */
export function scalesOfQ4K(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  turn(table + TURNED_AT, p0, p1, p2, p3);
  storeTwoHalves(table, v128.load(table + TURNED_AT));
  const a = v128.load(table + TURNED_AT, 16), b = v128.load(table + TURNED_AT, 32), c = v128.load(table + TURNED_AT, 48);
  storeBytes(table + SCALES_AT, field(a, 0, 0x3f3f3f3f), 0);
  storeBytes(table + SCALES_AT + 64, v128.or(field(c, 0, 0x0f0f0f0f), field(a, 2, 0x30303030)), 0);
  storeFloats(table + MINIMA_AT, field(b, 0, 0x3f3f3f3f));
  storeFloats(table + MINIMA_AT + 64, v128.or(field(c, 4, 0x0f0f0f0f), field(b, 2, 0x30303030)));
}

/** Sixteen signed bytes. */
export function scalesOfQ6K(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  v128.store(table, halvesOf256(fourHalfWords(p0 + 208, p1 + 208, p2 + 208, p3 + 208)));
  turn(table + TURNED_AT, p0 + 192, p1 + 192, p2 + 192, p3 + 192);
  for (let i: usize = 0; i < 64; i += 16) {
    const words = v128.load(table + TURNED_AT + i), at = table + SCALES_AT + 4 * i;
    v128.store(at, i32x4.shr_s(i32x4.shl(words, 24), 24));
    v128.store(at, i32x4.shr_s(i32x4.shl(words, 16), 24), 16);
    v128.store(at, i32x4.shr_s(i32x4.shl(words, 8), 24), 32);
    v128.store(at, i32x4.shr_s(words, 24), 48);
  }
}

/** D, upper two bits of eight scales, lower four. */
export function scalesOfIQ4XS(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void {
  const first = fourWords(p0, p1, p2, p3), low = fourWords(p0 + 4, p1 + 4, p2 + 4, p3 + 4);
  v128.store(table, halvesOf256(first));
  const four = i32x4.splat(15), two = i32x4.splat(0x30), offset = i32x4.splat(32);
  for (let j = 0; j < 8; j++) {
    // Bits 16 + 2j and the next, to bits 4 and 5.
    const upper = v128.and(i32x4.shr_u(first, 12 + 2 * j), two);
    const scale = v128.or(v128.and(i32x4.shr_u(low, 4 * j), four), upper);
    v128.store(table + SCALES_AT + 16 * <usize>j, i32x4.sub(scale, offset));
  }
}

/** The f16 at four places, in the lower half of each lane. */
@inline
export function fourHalfWords(p0: usize, p1: usize, p2: usize, p3: usize): v128 {
  const v = v128.load16_lane(p1, v128.load16_lane(p0, i32x4.splat(0), 0), 2);
  return v128.load16_lane(p3, v128.load16_lane(p2, v, 4), 6);
}
