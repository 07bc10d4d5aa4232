/**
 * f32 values as ggml's blocks of 32: Q4_0 for records of q4, matrices and predictors, Q8_0 for matrices. block-format.ts is the way back.
 *
 *   Q4_0   scale f16 | 16 bytes: element i in the low nibble of byte i, element 16 + i in the high one; value = scale · (nibble − 8)
 *   Q8_0   scale f16 | 32 bytes: value = scale · q
 *
 * A scale of Q4_0 is chosen for the least squared error: of five that bring the largest value near −8, the one whose integers fit best, then for
 * those integers the best scale. On weights that is 5 % less error than the largest value at −8 exactly, and within 0.3 % of trying a hundred.
 * Where it is known what each element will be multiplied by, its error may weigh as much; and scales may be given.
 */
import { decodeFloat16, encodeFloat16 } from "@flashwick/core";
import { roundTiesToEven } from "./quantised-vector.js";

/** Elements of a block that {@link BlockEncoder} writes. */
export const BLOCK_ELEMENTS = 32;
/** What the largest value of a block is to become. */
const CANDIDATES = [-9, -8.5, -8, -7.5, -7];
const Q8_MOST = 127;
const INFINITE = 0x7c00;
const SAME_WEIGHTS = new Float32Array(BLOCK_ELEMENTS).fill(1);

/** Encodes blocks of one type; says what each encoding lost. */
export class BlockEncoder {
  /** Σ (x − stored x)² of the last block. */
  squaredError = 0;
  readonly #bytes: Uint8Array;
  readonly #encode: (block: Float32Array, atByte: number, scale?: number) => boolean;

  /** @param bytes Where blocks go. */
  constructor(dtype: "q4_0" | "q8_0", bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#encode = dtype === "q4_0" ? this.#encodeQ4 : this.#encodeQ8;
  }

  /**
   * @param block f32 `[32]`, finite.
   * @param scale Of Q4_0, if it is chosen already: a value of f16. Default: {@link chooseScaleQ4}.
   * @returns False if its scale is beyond the range of f16; then nothing is written.
   */
  encode(block: Float32Array, atByte: number, scale?: number): boolean {
    return this.#encode(block, atByte, scale);
  }

  #encodeQ4(block: Float32Array, atByte: number, given = chooseScaleQ4(block)): boolean {
    const bits = encodeFloat16(given);
    if ((bits & INFINITE) === INFINITE) return false;
    const scale = this.#putScale(bits, atByte);
    this.squaredError = 0;
    for (let i = 0; i < 16; i++) {
      const low = this.#quantise(block[i]!, scale, -8, 7);
      const high = this.#quantise(block[16 + i]!, scale, -8, 7);
      this.#bytes[atByte + 2 + i] = (low + 8) | ((high + 8) << 4);
    }
    return true;
  }

  #encodeQ8(block: Float32Array, atByte: number): boolean {
    const bits = encodeFloat16(Math.abs(largestOf(block)) / Q8_MOST);
    if ((bits & INFINITE) === INFINITE) return false;
    const scale = this.#putScale(bits, atByte);
    this.squaredError = 0;
    for (let i = 0; i < BLOCK_ELEMENTS; i++) {
      this.#bytes[atByte + 2 + i] = this.#quantise(block[i]!, scale, -Q8_MOST, Q8_MOST);
    }
    return true;
  }

  /** @returns The scale as it is stored: one that vanishes is zero, without a sign. */
  #putScale(given: number, atByte: number): number {
    const bits = (given & 0x7fff) === 0 ? 0 : given;
    this.#bytes[atByte] = bits & 255;
    this.#bytes[atByte + 1] = bits >> 8;
    return decodeFloat16(bits);
  }

  #quantise(x: number, scale: number, least: number, most: number): number {
    const q = scale === 0 ? 0 : Math.max(least, Math.min(most, roundTiesToEven(x / scale)));
    this.squaredError += (x - scale * q) ** 2;
    return q;
  }
}

/**
 * The scale of a block of Q4_0.
 *
 * @param block   f32 `[32]`, finite.
 * @param weights f32 `[32]`, above 0: how much the squared error of each element counts. Default: all the same.
 * @returns A value of f16, infinite if it is beyond f16's range; 0 for a block of zeros.
 */
export function chooseScaleQ4(block: Float32Array, weights: Float32Array = SAME_WEIGHTS): number {
  return decodeFloat16(encodeFloat16(leastSquaresScale(block, weights)));
}

/** The integer from −8 to 7 that Q4_0 stores for x. */
export function roundQ4(x: number, scale: number): number {
  return scale === 0 ? 0 : Math.max(-8, Math.min(7, roundTiesToEven(x / scale)));
}

function leastSquaresScale(block: Float32Array, weights: Float32Array): number {
  const largest = largestOf(block);
  if (largest === 0) return 0;
  let [best, scale] = [-1, 0];
  for (const candidate of CANDIDATES) {
    const [product, square] = fit(block, weights, candidate / largest);
    // The error is Σ x² less this; its least is where the scale is product / square.
    const gain = (product * product) / square;
    if (gain > best) [best, scale] = [gain, product / square];
  }
  return scale;
}

/** Σ w · x · q and Σ w · q² for q = x · inverse, to the nearest of −8 to 7. Neither is 0: the largest becomes −7 at least. */
function fit(block: Float32Array, weights: Float32Array, inverse: number): readonly [product: number, square: number] {
  let product = 0;
  let square = 0;
  for (let i = 0; i < BLOCK_ELEMENTS; i++) {
    const x = block[i]!;
    const q = Math.max(-8, Math.min(7, roundTiesToEven(x * inverse)));
    product += weights[i]! * x * q;
    square += weights[i]! * q * q;
  }
  return [product, square];
}

/** The value of the largest magnitude, with its sign. */
function largestOf(block: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < BLOCK_ELEMENTS; i++) if (Math.abs(block[i]!) > Math.abs(largest)) largest = block[i]!;
  return largest;
}
