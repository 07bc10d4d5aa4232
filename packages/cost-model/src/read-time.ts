/**
 * T[size, depth]: how long reads take, from the rates that a profile lists. Between its points rates follow power laws in size and in
 * depth; beyond them the nearest point holds.
 */
import type { FlashProfile, ReadRatePoint } from "./device-profile.js";

/**
 * Bytes a second of random reads of `sizeBytes` with `depth` in flight. Sizes beyond the table's: time goes on as between its last two
 * sizes, at most as fast as large reads in sequence.
 */
export function readBytesPerSec(flash: FlashProfile, sizeBytes: number, depth: number): number {
  return pointsBytesPerSec(flash.reads, sizeBytes, depth, flash.sequentialBytesPerSec);
}

/** The same of any measured points, with a rate that none beyond the largest size exceeds. */
export function pointsBytesPerSec(
  points: readonly ReadRatePoint[],
  sizeBytes: number,
  depth: number,
  mostBytesPerSec: number,
): number {
  const curve = tableOf(points).map((row) => ({
    at: row.at,
    rate: rateOfSize(row.points, sizeBytes, mostBytesPerSec),
  }));
  // What fewer reads in flight reach, more of them reach as well: some of them wait.
  for (let i = 1; i < curve.length; i++) curve[i]!.rate = Math.max(curve[i]!.rate, curve[i - 1]!.rate * NEARLY);
  return interpolate(curve, depth);
}

/** A little less, so that a deeper queue that gains nothing is not taken for as good. */
const NEARLY = 1 - 1e-9;

/** The points of one depth, by size. */
interface DepthRow {
  readonly at: number;
  readonly points: readonly Point[];
}

/** Sorted once for each profile: planning asks some ten thousand times. */
const tables = new WeakMap<readonly ReadRatePoint[], readonly DepthRow[]>();

function tableOf(reads: readonly ReadRatePoint[]): readonly DepthRow[] {
  const known = tables.get(reads);
  if (known) return known;
  const table = depthsOf(reads).map((depth) => ({
    at: depth,
    points: reads
      .filter((point) => point.depth === depth)
      .map((point) => ({ at: point.sizeBytes, rate: point.bytesPerSec }))
      .sort((a, b) => a.at - b.at),
  }));
  tables.set(reads, table);
  return table;
}

/** The depths that a profile knows, ascending. */
export function knownDepths(flash: FlashProfile): number[] {
  return depthsOf(flash.reads);
}

function depthsOf(reads: readonly ReadRatePoint[]): number[] {
  return [...new Set(reads.map((point) => point.depth))].sort((a, b) => a - b);
}

/** Reads by the calling thread, through the page cache. */
export function bufferedReadMs(flash: FlashProfile, count: number, bytes: number): number {
  const { operationUs, bytesPerSec } = flash.pageCache ?? { operationUs: 0, bytesPerSec: flash.sequentialBytesPerSec };
  return (count * operationUs) / 1000 + (1000 * bytes) / bytesPerSec;
}

/** What a batch takes beside its reads, milliseconds: between two depths in proportion. */
export function batchMs({ batches }: FlashProfile, depth: number): number {
  const next = batches.findIndex((batch) => batch.depth >= depth);
  if (next < 0) return batches.at(-1)!.us / 1000;
  if (next === 0) return batches[0]!.us / 1000;
  const [a, b] = [batches[next - 1]!, batches[next]!];
  return (a.us + ((b.us - a.us) * (depth - a.depth)) / (b.depth - a.depth)) / 1000;
}

/**
 * Milliseconds of one batch of equal reads: their bytes at the rate of as many reads as can be in flight, a last read that nothing
 * overlaps, on average half, and the batch itself.
 *
 * @param count May be a mean, and less than 1: then the batch is there only now and then.
 */
export function batchReadMs(flash: FlashProfile, count: number, sizeBytes: number, depth: number): number {
  if (count <= 0) return 0;
  const inFlight = Math.max(1, Math.min(depth, count));
  const steadyMs = (1000 * count * sizeBytes) / readBytesPerSec(flash, sizeBytes, inFlight);
  return steadyMs + lastReadMs(flash, count, sizeBytes, depth) + Math.min(1, count) * batchMs(flash, inFlight);
}

/** Of a batch's milliseconds those of half a last read that nothing overlaps; 0 where all reads are in flight at once. */
export function lastReadMs(flash: FlashProfile, count: number, sizeBytes: number, depth: number): number {
  if (count <= Math.max(1, depth)) return 0;
  return (1000 * depth * sizeBytes) / readBytesPerSec(flash, sizeBytes, depth) / 2;
}

/**
 * Milliseconds of equal reads that pass in several batches, one after the other. Where these come to just less than the queue, some have
 * more and take a second round, so that they take no less than fewer batches do that are just longer than the queue.
 *
 * @param count   Of all batches together.
 * @param batches May be a mean. 1: as {@link batchReadMs}.
 */
export function batchesReadMs(
  flash: FlashProfile,
  count: number,
  sizeBytes: number,
  depth: number,
  batches: number,
): number {
  const together = batches * batchReadMs(flash, count / batches, sizeBytes, depth);
  if (batches <= 1 || count / batches > depth) return together;
  // Half a last read is half a round of as many as fit.
  const roundMs = (1000 * depth * sizeBytes) / readBytesPerSec(flash, sizeBytes, depth);
  return Math.max(together, (count / depth) * (1.5 * roundMs + batchMs(flash, depth)));
}

type Point = { readonly at: number; rate: number };

/** Time per read is linear in size between two sizes: an operation, and its bytes. */
function rateOfSize(points: readonly Point[], at: number, most: number): number {
  if (points.length === 1) return points[0]!.rate;
  let i = 1;
  while (i < points.length - 1 && points[i]!.at < at) i++;
  const [a, b] = [points[i - 1]!, points[i]!];
  const [secondsA, secondsB] = [a.at / a.rate, b.at / b.rate];
  const slope = Math.max(0, secondsB - secondsA) / (b.at - a.at);
  if (at > b.at) return Math.max(b.rate, Math.min(most, at / (secondsB + slope * (at - b.at))));
  // A smaller read than any that was measured takes at least half as long as the smallest.
  if (at < a.at) return at / Math.max(secondsA / 2, secondsA - slope * (a.at - at));
  return at / (secondsA + ((secondsB - secondsA) * (at - a.at)) / (b.at - a.at));
}

/** A power law between the two nearest; beyond the ends the last, below the first in proportion. */
function interpolate(points: readonly Point[], at: number): number {
  const first = points[0]!;
  if (at <= first.at) return (first.rate * at) / first.at;
  const next = points.findIndex((point) => point.at >= at);
  if (next < 0) return points.at(-1)!.rate;
  const [a, b] = [points[next - 1]!, points[next]!];
  return a.rate * (b.rate / a.rate) ** (Math.log(at / a.at) / Math.log(b.at / a.at));
}
