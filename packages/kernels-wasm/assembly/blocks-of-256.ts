/**
 * Formats with blocks of 256, for kernels that are generic in the format, as in blocks-of-32.ts. A sub-block is 32 elements; the
 * sub-blocks of a stretch share bytes:
 *
 *   bytes(p, stretch, t, h, high)   half h (16 elements) of sub-block t of a stretch, one element a byte, before `offset` is taken off
 *   dots(…, even, odd)              its products with the half of a vector in four lanes
 *   high(stretch, t)                for `bytes`: the bit that a sub-block has in bytes of high bits
 *   scales(table, p0 … p3)          writes the scales of four rows; see block-scales.ts
 */
import { NON_LINEAR_OFFSET, dotBytes, highBits, lowNibblesOfPairs, nibbles, nonLinear, twoBits, upperTwoBits } from "./block-bytes";
import { scalesOfIQ4XS, scalesOfQ2K, scalesOfQ3K, scalesOfQ4K, scalesOfQ6K } from "./block-scales";

export class Q2_K {
  @inline blockBytes(): usize { return 84; }
  @inline stretches(): usize { return 2; }
  /** Elements that share a scale: 16 or 32. */
  @inline shared(): i32 { return 16; }
  @inline hasMinima(): bool { return true; }
  @inline offset(): i32 { return 0; }
  @inline signed(): bool { return false; }
  @inline high(stretch: usize, t: i32): v128 { return i8x16.splat(0); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128): v128 {
    return twoBits(p + 16 + 32 * stretch + 16 * h, t);
  }
  @inline dots(p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128): v128 {
    return dotBytes(this.bytes(p, stretch, t, h, high), false, even, odd);
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfQ2K(table, p0, p1, p2, p3); }
}

export class Q3_K {
  @inline blockBytes(): usize { return 110; }
  @inline stretches(): usize { return 2; }
  @inline shared(): i32 { return 16; }
  @inline hasMinima(): bool { return false; }
  @inline offset(): i32 { return 4; }
  @inline signed(): bool { return false; }
  @inline high(stretch: usize, t: i32): v128 { return i8x16.splat(<i8>((<i32>1) << (4 * (<i32>stretch) + t))); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128): v128 {
    return v128.or(twoBits(p + 32 + 32 * stretch + 16 * h, t), highBits(p + 16 * h, high, 4));
  }
  @inline dots(p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128): v128 {
    return dotBytes(this.bytes(p, stretch, t, h, high), false, even, odd);
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfQ3K(table, p0, p1, p2, p3); }
}

export class Q4_K {
  @inline blockBytes(): usize { return 144; }
  @inline stretches(): usize { return 4; }
  @inline shared(): i32 { return 32; }
  @inline hasMinima(): bool { return true; }
  @inline offset(): i32 { return 0; }
  @inline signed(): bool { return false; }
  @inline high(stretch: usize, t: i32): v128 { return i8x16.splat(0); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128): v128 {
    return nibbles(p + 16 + 32 * stretch + 16 * h, t);
  }
  @inline dots(p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128): v128 {
    const v = v128.load(p + 16 + 32 * stretch + 16 * h), low = lowNibblesOfPairs();
    const a = v128.and(t ? i16x8.shr_u(v, 4) : v, low), b = t ? i16x8.shr_u(v, 12) : v128.and(i16x8.shr_u(v, 8), low);
    return i32x4.add(i32x4.dot_i16x8_s(a, even), i32x4.dot_i16x8_s(b, odd));
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfQ4K(table, p0, p1, p2, p3); }
}

export class Q5_K {
  @inline blockBytes(): usize { return 176; }
  @inline stretches(): usize { return 4; }
  @inline shared(): i32 { return 32; }
  @inline hasMinima(): bool { return true; }
  @inline offset(): i32 { return 0; }
  @inline signed(): bool { return false; }
  @inline high(stretch: usize, t: i32): v128 { return i8x16.splat(<i8>((<i32>1) << (2 * (<i32>stretch) + t))); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128): v128 {
    return v128.or(nibbles(p + 48 + 32 * stretch + 16 * h, t), highBits(p + 16 + 16 * h, high, 16));
  }
  @inline dots(p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128): v128 {
    return dotBytes(this.bytes(p, stretch, t, h, high), false, even, odd);
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfQ4K(table, p0, p1, p2, p3); }
}

export class Q6_K {
  @inline blockBytes(): usize { return 210; }
  @inline stretches(): usize { return 2; }
  @inline shared(): i32 { return 16; }
  @inline hasMinima(): bool { return false; }
  @inline offset(): i32 { return 32; }
  @inline signed(): bool { return false; }
  @inline high(stretch: usize, t: i32): v128 { return i8x16.splat(0); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128): v128 {
    const low = nibbles(p + 64 * stretch + 32 * (t & 1) + 16 * h, t >> 1);
    return v128.or(low, upperTwoBits(p + 128 + 32 * stretch + 16 * h, t));
  }
  @inline dots(p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128): v128 {
    return dotBytes(this.bytes(p, stretch, t, h, high), false, even, odd);
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfQ6K(table, p0, p1, p2, p3); }
}

export class IQ4_XS {
  @inline blockBytes(): usize { return 136; }
  @inline stretches(): usize { return 8; }
  @inline shared(): i32 { return 32; }
  @inline hasMinima(): bool { return false; }
  @inline offset(): i32 { return NON_LINEAR_OFFSET; }
  @inline signed(): bool { return false; }
  @inline high(stretch: usize, t: i32): v128 { return i8x16.splat(0); }
  @inline bytes(p: usize, stretch: usize, t: i32, h: i32, high: v128): v128 {
    return nonLinear(nibbles(p + 8 + 16 * stretch, h));
  }
  @inline dots(p: usize, stretch: usize, t: i32, h: i32, high: v128, even: v128, odd: v128): v128 {
    return dotBytes(this.bytes(p, stretch, t, h, high), false, even, odd);
  }
  @inline scales(table: usize, p0: usize, p1: usize, p2: usize, p3: usize): void { scalesOfIQ4XS(table, p0, p1, p2, p3); }
}
