/**
 * The CRC-32C of two stretches from those of each: what several threads find of pieces, without the bytes.
 *
 * A checksum is a polynomial over GF(2), modulo P. Appending n bytes multiplies it by x^(8n), and adds that of the bytes (Mark Adler, zlib, crc32_combine).
 * Polynomials are 32-bit words, the constant term first (bit 31), as CRC-32C is reflected.
 */
import { assert } from "@flashwick/core";
import { POLYNOMIAL_REFLECTED } from "./crc32c.js";

const ONE = 0x80000000;

/**
 * @param sizeBytes Of the second stretch.
 * @returns `join(crc32c(a), crc32c(b))` is the checksum of a followed by b, where b has `sizeBytes`. Cost of a call: 32 steps.
 */
export function crc32cJoin(sizeBytes: number): (before: number, crc: number) => number {
  assert(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0, "a stretch has a number of bytes");
  const shift = powerOfX(8 * sizeBytes);
  return (before, crc) => (multiply(shift, before) ^ crc) >>> 0;
}

/** x^n, by squaring. */
function powerOfX(n: number): number {
  let power = ONE;
  let square = ONE >>> 1;
  for (let left = n; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) power = multiply(power, square);
    square = multiply(square, square);
  }
  return power;
}

/** a · b modulo P. */
function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let term = ONE; term !== 0; term >>>= 1) {
    if ((a & term) !== 0) product ^= shifted;
    shifted = (shifted & 1) !== 0 ? (shifted >>> 1) ^ POLYNOMIAL_REFLECTED : shifted >>> 1;
  }
  return product >>> 0;
}
