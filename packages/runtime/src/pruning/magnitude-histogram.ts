/**
 * How large values are, in bins of equal ratios: for thresholds that leave a given share above them. Bins are 1/64 of a doubling wide, so a
 * threshold is within 1.1 % of the exact quantile.
 */

const BINS_PER_DOUBLING = 64;
/** Smaller magnitudes count as zeros, larger ones as this large. */
const LEAST_EXPONENT = -40;
const MOST_EXPONENT = 24;
const BINS = (MOST_EXPONENT - LEAST_EXPONENT) * BINS_PER_DOUBLING;

export class MagnitudeHistogram {
  readonly #bins = new Uint32Array(BINS);
  #count = 0;

  add(values: Float32Array): void {
    this.#count += values.length;
    for (const value of values) {
      const bin = Math.floor((Math.log2(Math.abs(value)) - LEAST_EXPONENT) * BINS_PER_DOUBLING);
      if (bin >= 0) this.#bins[Math.min(bin, BINS - 1)]!++;
    }
  }

  /** The smallest bound of a bin with at most this share of all values above it; 0 where zeros alone are below. */
  threshold(shareAbove: number): number {
    let above = 0;
    for (let bin = BINS - 1; bin >= 0; bin--) {
      above += this.#bins[bin]!;
      if (above > shareAbove * this.#count) return 2 ** ((bin + 1) / BINS_PER_DOUBLING + LEAST_EXPONENT);
    }
    return 0;
  }
}
