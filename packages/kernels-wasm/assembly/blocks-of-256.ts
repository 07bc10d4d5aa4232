/**
 * Formats with blocks of 256, for kernels that are generic in the format, as in blocks-of-32.ts. A sub-block is 32 elements; the
 * sub-blocks of a stretch share bytes:
 *
 *   a(), b(), low()                 constants, as there
 *   bytes(p, stretch, t, h, high …) half h (16 elements) of sub-block t of a stretch, one element a byte, before `offset` is taken off
 *   dots(…, even, odd, …)           its products with the half of a vector in four lanes
 *   high(stretch, t)                for `bytes`: the bit that a sub-block has in bytes of high bits
 *   scales(table, p0 … p3)          writes the scales of four rows; see block-scales.ts
 *   twiceScales(table, p0 … p3)     the same beside vectors of bytes; see byte-scales.ts
 *   most()                          the largest |w| before scales
 */
import {
  NON_LINEAR_OFFSET, bitOfBytes, dotBytes, fifthBit, highBits, lowBytes, lowNibbles, lowNibblesOfPairs, lowTwoBits, nibbles, nonLinearTable,
  thirdBit, twoBits, twoBitsAbove, upperTwoBits,
} from "./block-bytes";
import { twiceScalesOfIQ4XS, twiceScalesOfQ2K, twiceScalesOfQ3K, twiceScalesOfQ4K, twiceScalesOfQ6K } from "./byte-scales";
import { scalesOfIQ4XS, scalesOfQ2K, scalesOfQ3K, scalesOfQ4K, scalesOfQ6K } from "./block-scales";

export class Q2_K {
  @inline blockBytes(): usize { return 84; }
  @inline stretches(): usize { return 2; }
  /** Elements that share a scale: 16 or 32. */
  @inline shared(): i32 { return 16; }
  @inline hasMinima(): bool { return true; }
  @inline offset(): i32 { return 0; }
  @inline most(): i32 { return 3; }
  @inline high(stretch: usize, t: i32): v128 { return i8x16.splat(0); }
  @inline a(): v128 { return lowTwoBits(); }
  @inline b(): v128 { return i8x16.splat(0); }
  @inline low(): v128 { return lowBytes(); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128, a: v128, b: v128): v128 {
    return twoBits(p + 16 + 32 * stretch + 16 * h, t, a);
  }
  @inline dots(
    p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128, a: v128, b: v128, low: v128,
  ): v128 {
    return dotBytes(this.bytes(p, stretch, t, h, high, a, b), low, even, odd);
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfQ2K(table, p0, p1, p2, p3); }
  @inline twiceScales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { twiceScalesOfQ2K(table, p0, p1, p2, p3); }
}

export class Q3_K {
  @inline blockBytes(): usize { return 110; }
  @inline stretches(): usize { return 2; }
  @inline shared(): i32 { return 16; }
  @inline hasMinima(): bool { return false; }
  @inline offset(): i32 { return 4; }
  @inline most(): i32 { return 4; }
  @inline high(stretch: usize, t: i32): v128 { return bitOfBytes(4 * stretch + t); }
  @inline a(): v128 { return lowTwoBits(); }
  @inline b(): v128 { return thirdBit(); }
  @inline low(): v128 { return lowBytes(); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128, a: v128, b: v128): v128 {
    return v128.or(twoBits(p + 32 + 32 * stretch + 16 * h, t, a), highBits(p + 16 * h, high, b));
  }
  @inline dots(
    p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128, a: v128, b: v128, low: v128,
  ): v128 {
    return dotBytes(this.bytes(p, stretch, t, h, high, a, b), low, even, odd);
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfQ3K(table, p0, p1, p2, p3); }
  @inline twiceScales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { twiceScalesOfQ3K(table, p0, p1, p2, p3); }
}

export class Q4_K {
  @inline blockBytes(): usize { return 144; }
  @inline stretches(): usize { return 4; }
  @inline shared(): i32 { return 32; }
  @inline hasMinima(): bool { return true; }
  @inline offset(): i32 { return 0; }
  @inline most(): i32 { return 15; }
  @inline high(stretch: usize, t: i32): v128 { return i8x16.splat(0); }
  @inline a(): v128 { return lowNibbles(); }
  @inline b(): v128 { return i8x16.splat(0); }
  @inline low(): v128 { return lowNibblesOfPairs(); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128, a: v128, b: v128): v128 {
    return nibbles(p + 16 + 32 * stretch + 16 * h, t, a);
  }
  @inline dots(
    p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128, a: v128, b: v128, low: v128,
  ): v128 {
    const v = v128.load(p + 16 + 32 * stretch + 16 * h);
    const u = v128.and(t ? i16x8.shr_u(v, 4) : v, low), w = t ? i16x8.shr_u(v, 12) : v128.and(i16x8.shr_u(v, 8), low);
    return i32x4.add(i32x4.dot_i16x8_s(u, even), i32x4.dot_i16x8_s(w, odd));
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfQ4K(table, p0, p1, p2, p3); }
  @inline twiceScales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { twiceScalesOfQ4K(table, p0, p1, p2, p3); }
}

export class Q5_K {
  @inline blockBytes(): usize { return 176; }
  @inline stretches(): usize { return 4; }
  @inline shared(): i32 { return 32; }
  @inline hasMinima(): bool { return true; }
  @inline offset(): i32 { return 0; }
  @inline most(): i32 { return 31; }
  @inline high(stretch: usize, t: i32): v128 { return bitOfBytes(2 * stretch + t); }
  @inline a(): v128 { return lowNibbles(); }
  @inline b(): v128 { return fifthBit(); }
  @inline low(): v128 { return lowBytes(); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128, a: v128, b: v128): v128 {
    return v128.or(nibbles(p + 48 + 32 * stretch + 16 * h, t, a), highBits(p + 16 + 16 * h, high, b));
  }
  @inline dots(
    p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128, a: v128, b: v128, low: v128,
  ): v128 {
    return dotBytes(this.bytes(p, stretch, t, h, high, a, b), low, even, odd);
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfQ4K(table, p0, p1, p2, p3); }
  @inline twiceScales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { twiceScalesOfQ4K(table, p0, p1, p2, p3); }
}

export class Q6_K {
  @inline blockBytes(): usize { return 210; }
  @inline stretches(): usize { return 2; }
  @inline shared(): i32 { return 16; }
  @inline hasMinima(): bool { return false; }
  @inline offset(): i32 { return 32; }
  @inline most(): i32 { return 32; }
  @inline high(stretch: usize, t: i32): v128 { return i8x16.splat(0); }
  @inline a(): v128 { return lowNibbles(); }
  @inline b(): v128 { return upperTwoBits(); }
  @inline low(): v128 { return lowBytes(); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128, a: v128, b: v128): v128 {
    const low = nibbles(p + 64 * stretch + 32 * (t & 1) + 16 * h, t >> 1, a);
    return v128.or(low, twoBitsAbove(p + 128 + 32 * stretch + 16 * h, t, b));
  }
  @inline dots(
    p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128, a: v128, b: v128, low: v128,
  ): v128 {
    return dotBytes(this.bytes(p, stretch, t, h, high, a, b), low, even, odd);
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfQ6K(table, p0, p1, p2, p3); }
  @inline twiceScales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { twiceScalesOfQ6K(table, p0, p1, p2, p3); }
}

export class IQ4_XS {
  @inline blockBytes(): usize { return 136; }
  @inline stretches(): usize { return 8; }
  @inline shared(): i32 { return 32; }
  @inline hasMinima(): bool { return false; }
  @inline offset(): i32 { return NON_LINEAR_OFFSET; }
  @inline most(): i32 { return 127; }
  @inline high(stretch: usize, t: i32): v128 { return i8x16.splat(0); }
  @inline a(): v128 { return lowNibbles(); }
  @inline b(): v128 { return nonLinearTable(); }
  @inline low(): v128 { return lowBytes(); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128, a: v128, b: v128): v128 {
    return i8x16.swizzle(b, nibbles(p + 8 + 16 * stretch, h, a));
  }
  @inline dots(
    p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128, a: v128, b: v128, low: v128,
  ): v128 {
    return dotBytes(this.bytes(p, stretch, t, h, high, a, b), low, even, odd);
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfIQ4XS(table, p0, p1, p2, p3); }
  @inline twiceScales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { twiceScalesOfIQ4XS(table, p0, p1, p2, p3); }
}
