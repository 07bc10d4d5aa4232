/**
 * The gap between two reads that takes a device as long to read over as to begin another read after.
 *
 * With c the time of an operation and b that of a record's bytes, and gaps of G records read over, a share p of n missing neurons takes
 *
 *     T(p) = n [ c · p (1 − p)^(G+1) + b · (1 − (1 − p)^(G+1) (1 + G p)) ]      missing-reads.ts, runs as long as chance has them
 *     T'(p) = n (1 − p)^G [ b + c − (G + 2)(c − G b) p ]
 *
 * so that fewer missing neurons can take longer where G + 1 < c / b, and nowhere else: each that stays tears a read in two, and the new
 * operation costs more than the record that it spares. At the gap of c / b no reading over a shorter or longer one is faster, either.
 */
import type { FlashProfile } from "./device-profile.js";
import { readBytesPerSec } from "./read-time.js";

/**
 * The largest gap, in whole records, over which one read takes no longer than the two beside it.
 *
 * @param recordBytes Of one read without gaps.
 * @param depth       Reads in flight.
 * @param mostRecords Where the search ends.
 * Cost: O(log mostRecords) looks at the profile.
 */
export function breakEvenGapRecords(
  flash: FlashProfile,
  recordBytes: number,
  depth: number,
  mostRecords: number,
): number {
  const seconds = (sizeBytes: number) => sizeBytes / readBytesPerSec(flash, sizeBytes, depth);
  const apart = 2 * seconds(recordBytes);
  let [low, high] = [0, mostRecords + 1];
  while (high - low > 1) {
    const gap = Math.floor((low + high) / 2);
    if (seconds((2 + gap) * recordBytes) <= apart) low = gap;
    else high = gap;
  }
  return low;
}
