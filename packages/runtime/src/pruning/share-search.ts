/**
 * Shares by layer and stage for the fewest bytes at a given loss. Pure.
 *
 * The model of the loss: what a stage of a layer costs by itself falls exponentially in its share (docs/results/sparsity.md), and the losses of
 * stages add up. With KL(s) = exp(a + b·s), b < 0, and s costing w bytes, Lagrange's condition w + λ · b · KL(s) = 0 gives every share in closed form;
 * one number λ, the bytes that a nat is worth, orders all plans.
 */

/** Loss of one stage of one layer by itself, and what its units cost. */
export interface StageSensitivity {
  /** Two probes: shares, and the KL that each has by itself, above 0. */
  readonly probes: readonly [SharePoint, SharePoint];
  /** Of all its units. */
  readonly bytes: number;
}

/** A share of units and its loss. */
export interface SharePoint {
  readonly share: number;
  readonly kl: number;
}

/** Shares below were not probed, and the model would promise too much of them. */
const LEAST_SHARE = 0.1;
/** A stage whose second probe loses no less than its first falls at least this slowly. */
const LEAST_SLOPE = 0.5;

/**
 * The share of a stage where a nat is worth so many bytes.
 *
 * @param bytesPerNat λ, above 0: more keeps more.
 */
export function shareAt({ probes, bytes }: StageSensitivity, bytesPerNat: number): number {
  const [one, other] = probes;
  const slope = Math.max(LEAST_SLOPE, Math.log(other.kl / one.kl) / (one.share - other.share));
  const kl = bytes / (bytesPerNat * slope);
  const share = one.share + Math.log(one.kl / kl) / slope;
  return Math.min(1, Math.max(LEAST_SHARE, share));
}

/**
 * The smallest λ within a factor of `precision` whose measured loss is at most `target`: bisection over its logarithm.
 *
 * @param measure The loss that a plan really has; less for a larger λ, but for noise.
 * @returns Null where even `most` loses more.
 */
export async function searchWorth(
  measure: (bytesPerNat: number) => Promise<number>,
  target: number,
  { least, most, precision }: { readonly least: number; readonly most: number; readonly precision: number },
): Promise<number | null> {
  if ((await measure(most)) > target) return null;
  let [low, high] = [least, most];
  while (high / low > precision) {
    const middle = Math.sqrt(low * high);
    if ((await measure(middle)) > target) low = middle;
    else high = middle;
  }
  return high;
}
