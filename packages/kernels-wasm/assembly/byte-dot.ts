/**
 * The relaxed dot product of bytes, used so that it has one result everywhere.
 *
 * Σ q · w of four neighbours, added to each of four lanes. Processors differ in two places, and operands here reach neither:
 *
 *   - Bytes of w from 128 on are taken with a sign or without one. Here 0 ≤ w ≤ 127.
 *   - Two neighbours' products may be added in 16 bits, where some processors saturate and others wrap. Here |q| ≤ 128, so a sum of two is at most
 *     2 · 128 · 127 = 32512, below 2^15.
 *
 * So every lane is the exact integer, as long as the sum fits 32 bits: 32 products of at most 128 · 127 do.
 *
 * Weights that fit seven bits stand on the right, the vector's bytes on the left. Weights of eight bits with signs stand on the left, and the vector on the
 * right, in two parts of seven bits (byte-vector.ts).
 */

/** sum + q · w; q with signs, w from 0 to 127. */
@inline
export function dot(q: v128, w: v128, sum: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(q, w, sum);
}

/** One product for the probe: the three vectors lie behind each other at `at`, and the result takes the place of the third. */
export function dotAt(at: usize): void {
  v128.store(at, dot(v128.load(at), v128.load(at, 16), v128.load(at, 32)), 32);
}

/** Bytes of the first vector at `at` by the numbers of the second, in its place. Numbers are below 16, or from 128 on for a zero. */
export function selectAt(at: usize): void {
  v128.store(at, i8x16.relaxed_swizzle(v128.load(at), v128.load(at, 16)), 16);
}
