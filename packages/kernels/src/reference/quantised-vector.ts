/**
 * Vectors as small integers with one scale: the activation side of int8 products, and int8 keys and values.
 *
 * scale = fl(max|x| / most), q = fl(x / scale) rounded to the nearest integer, ties to even, held within ±most.
 * A NaN or an infinity in x makes the scale NaN or infinite, so that it shows in the product and is not lost.
 */

/** 12 bits: a product with an int8 weight, summed over thousands of columns, stays exact in 32 bits per lane. */
export const ACTIVATION_MOST = 4095;
export const INT8_MOST = 127;

/**
 * Quantises `x` into `q` and returns the scale.
 *
 * @param q Integer array `[x.length]`; all zero if the scale is zero or not finite.
 */
export function quantise(q: Int16Array | Int8Array, x: Float32Array, most: number): number {
  let largest = 0;
  for (const value of x) largest = Math.max(largest, Math.abs(value));
  const scale = Math.fround(largest / most);
  if (!(scale > 0 && scale < Number.POSITIVE_INFINITY)) {
    q.fill(0);
    return scale;
  }
  for (let k = 0; k < x.length; k++) {
    q[k] = Math.max(-most, Math.min(most, roundTiesToEven(Math.fround(x[k]! / scale))));
  }
  return scale;
}

/** Nearest integer, ties to even, for |x| < 2^51: adding 1.5 · 2^52 leaves no fraction bits in a double. */
export function roundTiesToEven(x: number): number {
  return x + 6755399441055744 - 6755399441055744;
}
