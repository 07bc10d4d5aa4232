/** How reads and arithmetic share a device's time. */
import type { DeviceProfile, FlashProfile } from "./device-profile.js";
import type { MissingReads } from "./missing-reads.js";

/** What two things at once leave of each other where the profile does not know. */
const UNKNOWN_SHARE = 0.5;

/** Milliseconds of reads by the calling thread, through the page cache. */
export function bufferedMs(flash: FlashProfile, reads: Pick<MissingReads, "count" | "bytes">): number {
  const { operationUs, bytesPerSec } = flash.pageCache ?? { operationUs: 0, bytesPerSec: flash.sequentialBytesPerSec };
  return (reads.count * operationUs) / 1000 + (1000 * reads.bytes) / bytesPerSec;
}

/**
 * What of reads nothing is computed in: all of them where there is nothing to compute meanwhile, else what outlasts that, both slowed by each other as the
 * profile says. Where neither slows the other both take as long as the longer; where they halve each other, as long as one after the other.
 *
 * @param meanwhileMs Arithmetic that does not wait for the reads.
 */
export function exposedMs({ flash }: DeviceProfile, readMs: number, meanwhileMs: number): number {
  const { shareUnderCompute, computeShareUnderReads } = flash;
  const slowReads = readMs / (shareUnderCompute ?? UNKNOWN_SHARE);
  const slowCompute = meanwhileMs / (computeShareUnderReads ?? UNKNOWN_SHARE);
  // Whichever ends first leaves the rest of the other undisturbed.
  const together = Math.min(slowReads, slowCompute);
  const rest = readMs * (1 - together / slowReads || 0) + meanwhileMs * (1 - together / slowCompute || 0);
  return Math.max(0, together + rest - meanwhileMs);
}
