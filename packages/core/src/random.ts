/**
 * Seeded random numbers: xoshiro128** 1.1 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021),
 * seeded by splitmix32, so that a seed gives the same text and the same predictor on every platform.
 */
export class Random {
  readonly #state = new Uint32Array(4);

  /** @param words The generator's name: integers of which the low 32 bits count. */
  constructor(...words: readonly number[]) {
    let mixed = 0;
    for (const word of words) mixed = splitmix32((mixed + word) | 0);
    for (let i = 0; i < 4; i++) this.#state[i] = mixed = splitmix32((mixed + 0x9e3779b9) | 0);
    // The all-zero state is the one that xoshiro never leaves.
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  /** A generator in a given state, not all zero: for checking the algorithm against its source. */
  static fromState(state: readonly [number, number, number, number]): Random {
    const random = new Random();
    random.#state.set(state);
    return random;
  }

  /** A word in [0, 2^32). */
  next(): number {
    const s = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const t = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= t;
    s[3] = rotateLeft(s[3]!, 11);
    return result;
  }

  /** Uniform in [0, 1), 24 bits. */
  uniform(): number {
    return (this.next() >>> 8) / 2 ** 24;
  }

  /** Uniform in 0 … count − 1. The bias of at most count / 2^32 is of no consequence to shuffling. */
  below(count: number): number {
    return Math.floor((this.next() / 2 ** 32) * count);
  }
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}

function splitmix32(x: number): number {
  x = (x + 0x9e3779b9) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return x ^ (x >>> 15);
}
