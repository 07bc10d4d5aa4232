/**
 * Formats with blocks of 32, for kernels that are generic in the format. A format is a class without instances:
 * `changetype<T>(0).method()` is a static call, and inlined.
 *
 *   a(), b()                  constants of `bytes`; low(): another, of `dots`. Loops hold them in variables.
 *   bytes(p, h, a, b)         half h (16 elements) of the block at p, one element a byte, before `offset` is taken off
 *   dots(p, q0 … q3, …)       its products with a vector in four lanes, likewise; q0, q1: even and odd elements of the first half,
 *                             q2, q3: of the second; if `natural()`: as they are, and bytes have a sign
 *   scales(p0 … p3)           of the blocks of four rows, f32
 *   minima(p0 … p3)           what is added to each element, f32; only if `hasMinima()`
 *   most()                    the largest |w|
 *
 * What the bytes mean is in kernels/src/reference/block-format.ts.
 */
import {
  E2M1_OFFSET, NON_LINEAR_OFFSET, dotBytes, fifthBit, fifthBits, fourHalves, fourPowersOfTwo, fourWords, lowBytes, lowNibbles,
  lowNibblesOfPairs, nibbles, nonLinearTable, twiceE2M1Table, upperHalves,
} from "./block-bytes";

/**
 * Nibbles at p: a lane of 16 bits has elements 2l, 16 + 2l, 2l + 1 and 17 + 2l, from its lowest nibble to its highest. Odd elements are
 * also the lowest nibbles a byte further on: a load instead of a shift, since loads are what there is room for. The byte behind the block
 * meets no product.
 */
@inline
function dotNibbles(p: usize, q0: v128, q1: v128, q2: v128, q3: v128, low: v128): v128 {
  const v = v128.load(p), w = v128.load(p, 1);
  return i32x4.add(
    i32x4.add(i32x4.dot_i16x8_s(v128.and(v, low), q0), i32x4.dot_i16x8_s(v128.and(w, low), q1)),
    i32x4.add(
      i32x4.dot_i16x8_s(v128.and(i16x8.shr_u(v, 4), low), q2),
      i32x4.dot_i16x8_s(i16x8.shr_u(v, 12), q3),
    ),
  );
}

export class Q4_0 {
  @inline blockBytes(): usize { return 18; }
  @inline offset(): i32 { return 8; }
  @inline most(): i32 { return 8; }
  @inline natural(): bool { return false; }
  @inline hasMinima(): bool { return false; }
  @inline a(): v128 { return lowNibbles(); }
  @inline b(): v128 { return i8x16.splat(0); }
  @inline low(): v128 { return lowNibblesOfPairs(); }
  @inline bytes(p: usize, h: i32, a: v128, b: v128): v128 { return nibbles(p + 2, h, a); }
  @inline dots(p: usize, q0: v128, q1: v128, q2: v128, q3: v128, a: v128, b: v128, low: v128): v128 { return dotNibbles(p + 2, q0, q1, q2, q3, low); }
  @inline scales(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return fourHalves(p0, p1, p2, p3); }
  @inline minima(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return f32x4.splat(0); }
}

export class Q4_1 {
  @inline blockBytes(): usize { return 20; }
  @inline offset(): i32 { return 0; }
  @inline most(): i32 { return 15; }
  @inline natural(): bool { return false; }
  @inline hasMinima(): bool { return true; }
  @inline a(): v128 { return lowNibbles(); }
  @inline b(): v128 { return i8x16.splat(0); }
  @inline low(): v128 { return lowNibblesOfPairs(); }
  @inline bytes(p: usize, h: i32, a: v128, b: v128): v128 { return nibbles(p + 4, h, a); }
  @inline dots(p: usize, q0: v128, q1: v128, q2: v128, q3: v128, a: v128, b: v128, low: v128): v128 { return dotNibbles(p + 4, q0, q1, q2, q3, low); }
  @inline scales(p0: usize, p1: usize, p2: usize, p3: usize): v128 {
    return upperHalves(i32x4.shl(fourWords(p0, p1, p2, p3), 16));
  }
  @inline minima(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return upperHalves(fourWords(p0, p1, p2, p3)); }
}

export class Q5_0 {
  @inline blockBytes(): usize { return 22; }
  @inline offset(): i32 { return 16; }
  @inline most(): i32 { return 16; }
  @inline natural(): bool { return false; }
  @inline hasMinima(): bool { return false; }
  @inline a(): v128 { return lowNibbles(); }
  @inline b(): v128 { return fifthBit(); }
  @inline low(): v128 { return lowBytes(); }
  @inline bytes(p: usize, h: i32, a: v128, b: v128): v128 { return v128.or(nibbles(p + 6, h, a), fifthBits(p + 2 + 2 * h, b)); }
  @inline dots(p: usize, q0: v128, q1: v128, q2: v128, q3: v128, a: v128, b: v128, low: v128): v128 {
    return i32x4.add(dotBytes(this.bytes(p, 0, a, b), low, q0, q1), dotBytes(this.bytes(p, 1, a, b), low, q2, q3));
  }
  @inline scales(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return fourHalves(p0, p1, p2, p3); }
  @inline minima(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return f32x4.splat(0); }
}

export class Q5_1 {
  @inline blockBytes(): usize { return 24; }
  @inline offset(): i32 { return 0; }
  @inline most(): i32 { return 31; }
  @inline natural(): bool { return false; }
  @inline hasMinima(): bool { return true; }
  @inline a(): v128 { return lowNibbles(); }
  @inline b(): v128 { return fifthBit(); }
  @inline low(): v128 { return lowBytes(); }
  @inline bytes(p: usize, h: i32, a: v128, b: v128): v128 { return v128.or(nibbles(p + 8, h, a), fifthBits(p + 4 + 2 * h, b)); }
  @inline dots(p: usize, q0: v128, q1: v128, q2: v128, q3: v128, a: v128, b: v128, low: v128): v128 {
    return i32x4.add(dotBytes(this.bytes(p, 0, a, b), low, q0, q1), dotBytes(this.bytes(p, 1, a, b), low, q2, q3));
  }
  @inline scales(p0: usize, p1: usize, p2: usize, p3: usize): v128 {
    return upperHalves(i32x4.shl(fourWords(p0, p1, p2, p3), 16));
  }
  @inline minima(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return upperHalves(fourWords(p0, p1, p2, p3)); }
}

/** Eight bytes are widened as they are loaded. */
export class Q8_0 {
  @inline blockBytes(): usize { return 34; }
  @inline offset(): i32 { return 0; }
  @inline most(): i32 { return 128; }
  @inline natural(): bool { return true; }
  @inline hasMinima(): bool { return false; }
  @inline a(): v128 { return i8x16.splat(0); }
  @inline b(): v128 { return i8x16.splat(0); }
  @inline low(): v128 { return i8x16.splat(0); }
  @inline bytes(p: usize, h: i32, a: v128, b: v128): v128 { return v128.load(p + 2 + 16 * h); }
  @inline dots(p: usize, q0: v128, q1: v128, q2: v128, q3: v128, a: v128, b: v128, low: v128): v128 {
    return i32x4.add(
      i32x4.add(
        i32x4.dot_i16x8_s(v128.load8x8_s(p, 2), q0),
        i32x4.dot_i16x8_s(v128.load8x8_s(p, 10), q1),
      ),
      i32x4.add(
        i32x4.dot_i16x8_s(v128.load8x8_s(p, 18), q2),
        i32x4.dot_i16x8_s(v128.load8x8_s(p, 26), q3),
      ),
    );
  }
  @inline scales(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return fourHalves(p0, p1, p2, p3); }
  @inline minima(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return f32x4.splat(0); }
}

export class IQ4_NL {
  @inline blockBytes(): usize { return 18; }
  @inline offset(): i32 { return NON_LINEAR_OFFSET; }
  @inline most(): i32 { return 127; }
  @inline natural(): bool { return false; }
  @inline hasMinima(): bool { return false; }
  @inline a(): v128 { return lowNibbles(); }
  @inline b(): v128 { return nonLinearTable(); }
  @inline low(): v128 { return lowBytes(); }
  @inline bytes(p: usize, h: i32, a: v128, b: v128): v128 { return i8x16.swizzle(b, nibbles(p + 2, h, a)); }
  @inline dots(p: usize, q0: v128, q1: v128, q2: v128, q3: v128, a: v128, b: v128, low: v128): v128 {
    return i32x4.add(dotBytes(this.bytes(p, 0, a, b), low, q0, q1), dotBytes(this.bytes(p, 1, a, b), low, q2, q3));
  }
  @inline scales(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return fourHalves(p0, p1, p2, p3); }
  @inline minima(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return f32x4.splat(0); }
}

export class MXFP4 {
  @inline blockBytes(): usize { return 17; }
  @inline offset(): i32 { return E2M1_OFFSET; }
  @inline most(): i32 { return 12; }
  @inline natural(): bool { return false; }
  @inline hasMinima(): bool { return false; }
  @inline a(): v128 { return lowNibbles(); }
  @inline b(): v128 { return twiceE2M1Table(); }
  @inline low(): v128 { return lowBytes(); }
  @inline bytes(p: usize, h: i32, a: v128, b: v128): v128 { return i8x16.swizzle(b, nibbles(p + 1, h, a)); }
  @inline dots(p: usize, q0: v128, q1: v128, q2: v128, q3: v128, a: v128, b: v128, low: v128): v128 {
    return i32x4.add(dotBytes(this.bytes(p, 0, a, b), low, q0, q1), dotBytes(this.bytes(p, 1, a, b), low, q2, q3));
  }
  @inline scales(p0: usize, p1: usize, p2: usize, p3: usize): v128 {
    return fourPowersOfTwo(p0, p1, p2, p3);
  }
  @inline minima(p0: usize, p1: usize, p2: usize, p3: usize): v128 { return f32x4.splat(0); }
}
