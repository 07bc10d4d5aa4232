/**
 * How much a device's service times scatter: factors that are lognormal and 1 on average, so that jitter changes tails and never the
 * device's throughput.
 */
import type { Random } from "@flashwick/core";
import type { FlashProfile } from "../device-profile.js";
import { normalQuantile } from "./normal-quantile.js";

/** How service times scatter around their mean. */
export interface Jitter {
  /** Standard deviation of the logarithm of one read's service time; each read draws its own. */
  readonly readSigma: number;
  /** The same of the device's pace as a whole (others use it, it collects garbage); each token draws its own. */
  readonly tokenSigma: number;
}

/** (max − min) of three draws of a normal distribution is on average so many of its standard deviations. */
const RANGE_OF_THREE = 1.693;

/**
 * What a profile's spread says of both: the median of its points, taken for (max − min) / mean of three turns. A turn is some hundred
 * reads, so for `tokenSigma` that is a measurement; for single reads it is a least value. Null where the profile has no spread.
 */
export function jitterOf(flash: FlashProfile): Jitter | null {
  const spreads = flash.reads.flatMap(({ spread }) => (spread === null ? [] : [spread])).sort((a, b) => a - b);
  if (spreads.length === 0) return null;
  const sigma = spreads[spreads.length >> 1]! / RANGE_OF_THREE;
  return { readSigma: sigma, tokenSigma: sigma };
}

/** Enough for tails of one in some thousand, and small enough to stay in a processor's cache. */
const DRAWS = 4096;

/** Draws from a table of equally likely values: a draw costs one random word. */
export class LognormalFactor {
  readonly #values: Float64Array | null;

  constructor(sigma: number) {
    this.#values = sigma > 0 ? lognormalTable(sigma) : null;
  }

  /** False: every draw is 1. */
  get scatters(): boolean {
    return this.#values !== null;
  }

  draw(random: Random): number {
    return this.#values === null ? 1 : this.#values[random.below(DRAWS)]!;
  }
}

/** Of mean exactly 1, whatever the table's tails cut off. */
function lognormalTable(sigma: number): Float64Array {
  const values = Float64Array.from({ length: DRAWS }, (_, i) => Math.exp(sigma * normalQuantile((i + 0.5) / DRAWS)));
  const mean = values.reduce((sum, value) => sum + value, 0) / DRAWS;
  return values.map((value) => value / mean);
}
