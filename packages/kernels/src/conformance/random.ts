/** Repeatable numbers: mulberry32, so that a failing case fails again. */
export class RandomNumbers {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Uniform in [-1, 1), rounded to f32. */
  signed(): number {
    return Math.fround(2 * this.uniform() - 1);
  }

  below(limit: number): number {
    return Math.floor(this.uniform() * limit);
  }
}
