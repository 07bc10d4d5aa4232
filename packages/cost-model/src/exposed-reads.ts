/** Reads beside arithmetic: what of them outlasts it. */

/** What two things at once leave of each other; null if unknown. */
export interface OverlapShares {
  /** Share of read throughput that is left while every core computes. */
  readonly shareUnderCompute: number | null;
  /** Share of compute speed that is left while reads fly. */
  readonly computeShareUnderReads: number | null;
}

/** What two things at once leave of each other where the profile does not know. */
const UNKNOWN_SHARE = 0.5;

/** Milliseconds that are added to `meanwhileMs` of arithmetic by reads of `readMs` that begin with it; both slow each other as long as both last. */
export function exposedReadMs(shares: OverlapShares, readMs: number, meanwhileMs: number): number {
  const slowReads = readMs / (shares.shareUnderCompute ?? UNKNOWN_SHARE);
  const slowCompute = meanwhileMs / (shares.computeShareUnderReads ?? UNKNOWN_SHARE);
  // Whichever ends first leaves the rest of the other undisturbed.
  const together = Math.min(slowReads, slowCompute);
  const rest = readMs * (1 - together / slowReads || 0) + meanwhileMs * (1 - together / slowCompute || 0);
  return Math.max(0, together + rest - meanwhileMs);
}
