/**
 * What a device likes: how many reads in flight, and which gaps are cheaper read than skipped. Measured on the model file itself.
 *
 * Time per read at the best depth is fitted by t(s) = operation + s / bandwidth ("access collapse"). Reading a gap of g bytes
 * costs g / bandwidth and saves one operation, so it pays while g < operation · bandwidth, and only while the device is bound
 * by operations: once larger reads no longer raise bytes per second, every byte of a gap costs its full price.
 */
import { Random } from "@flashwick/core";
import { openFlashParts } from "./flash-parts.js";
import { landingMemory, measureReadRate } from "./read-rate.js";
import { readByThreads } from "./threaded-file.js";

/** Bytes a second with so many reads in flight. */
export interface DepthRate {
  readonly readers: number;
  readonly bytesPerSec: number;
}

/** Bytes a second with reads of one size. */
export interface SizeRate {
  readonly sizeBytes: number;
  readonly bytesPerSec: number;
}

/** What suits a device: readers, and the gap that is worth reading over. */
export interface DeviceTuning {
  /** The fewest that come within 5 % of the best. */
  readonly readers: number;
  readonly mergeGapBytes: number;
  /** What one more read costs with `readers` in flight, apart from its bytes. */
  readonly operationUs: number;
  readonly bandwidthBytesPerSec: number;
  /** Random reads of `DEPTH_SIZE_BYTES`. */
  readonly depths: readonly DepthRate[];
  /** Random reads with `readers` in flight. */
  readonly sizes: readonly SizeRate[];
}

/** How long a device is measured. */
export interface MeasureDeviceOptions {
  /** Of measuring, start-up of threads apart. Default 0.4. */
  readonly seconds?: number;
  readonly signal?: AbortSignal | undefined;
}

const KIB = 1024;
const DEPTHS = [1, 4, 8, 16, 32];
const DEPTH_SIZE_BYTES = 16 * KIB;
const SIZES = [4, 8, 16, 32, 64, 128].map((kib) => kib * KIB);
/** A depth this much below the best is as good: fewer threads, fewer wake-ups. */
const NEARLY_BEST = 0.95;
/** A read size that comes so near to the best bandwidth is bound by bytes, not by operations. */
const SATURATED = 0.9;
/** Short turns, and more than one of each case: better than one long turn on a busy machine. */
const PASSES = 2;
const WARM_UP_TURNS = 3;
/**
 * Share of the gap that pays by the fit. A merged read is a vectored one, whose pieces cost the cores more than the fit, made with
 * plain reads, knows: on OPT-6.7B's geometry (f16, two cores) the whole of it, 64 KiB, took 333 ms of I/O a token, and none 266.
 */
const GAP_SHARE = 1 / 4;
/** Gaps in whole sectors. */
const GAP_STEP_BYTES = 512;

/**
 * Measures the device under `path` with direct random reads of the file, about a second.
 *
 * @throws {UnsupportedError} where direct reads are refused: there the page cache would be measured. {IoError} as reading fails.
 */
export async function measureDevice(path: string, options: MeasureDeviceOptions = {}): Promise<DeviceTuning> {
  const { seconds = 0.4, signal } = options;
  const file = openFlashParts(path, true);
  const most = DEPTHS.at(-1)!;
  const sizes = SIZES.filter((sizeBytes) => sizeBytes <= file.sizeBytes);
  const memory = landingMemory(most, SIZES.at(-1)!);
  const random = new Random(1);
  const reader = readByThreads(file, most, 0);
  const measure = async (readers: number, sizeBytes: number): Promise<number> => {
    reader.limit(readers);
    const turn = seconds / (WARM_UP_TURNS + PASSES * (DEPTHS.length + SIZES.length));
    const load = { fileBytes: file.sizeBytes, sizeBytes, seconds: turn, random, signal };
    return (await measureReadRate(reader, memory, load)).bytesPerSec;
  };
  try {
    await reader.grow(most);
    const depthSize = Math.min(DEPTH_SIZE_BYTES, sizes.at(-1) ?? file.sizeBytes);
    // Fresh threads interpret their code at first.
    for (let turn = 0; turn < WARM_UP_TURNS; turn++) await measure(most, depthSize);
    const depthRates = await bestOfPasses(DEPTHS, (readers) => measure(readers, depthSize));
    const depths = DEPTHS.map((readers, i) => ({ readers, bytesPerSec: depthRates[i]! }));
    const readers = fewestNearBest(depths);
    const sizeRates = await bestOfPasses(sizes, (sizeBytes) => measure(readers, sizeBytes));
    return tuningOf(
      depths,
      sizes.map((sizeBytes, i) => ({ sizeBytes, bytesPerSec: sizeRates[i]! })),
    );
  } finally {
    await reader.close();
  }
}

/** The best rate of each case over interleaved passes: other tenants only ever slow a device down. */
async function bestOfPasses(cases: readonly number[], measure: (of: number) => Promise<number>): Promise<number[]> {
  const best = cases.map(() => 0);
  for (let pass = 0; pass < PASSES; pass++) {
    for (const [i, of] of cases.entries()) best[i] = Math.max(best[i]!, await measure(of));
  }
  return best;
}

/** Draws the conclusions; pure. */
export function tuningOf(depths: readonly DepthRate[], sizes: readonly SizeRate[]): DeviceTuning {
  const { operationSec, bandwidthBytesPerSec } = fitOperation(sizes);
  return {
    readers: fewestNearBest(depths),
    mergeGapBytes: worthwhileGap(sizes, GAP_SHARE * operationSec * bandwidthBytesPerSec),
    operationUs: operationSec * 1e6,
    bandwidthBytesPerSec,
    depths,
    sizes,
  };
}

function fewestNearBest(depths: readonly DepthRate[]): number {
  const best = Math.max(...depths.map((rate) => rate.bytesPerSec));
  return depths.find((rate) => rate.bytesPerSec >= NEARLY_BEST * best)!.readers;
}

/** Least squares of t(s) = operation + s / bandwidth, each point weighted so that relative errors count. */
function fitOperation(sizes: readonly SizeRate[]): { operationSec: number; bandwidthBytesPerSec: number } {
  let [n, s, ss, t, st] = [0, 0, 0, 0, 0];
  for (const { sizeBytes, bytesPerSec } of sizes) {
    const seconds = sizeBytes / bytesPerSec;
    const weight = 1 / seconds ** 2;
    n += weight;
    s += weight * sizeBytes;
    ss += weight * sizeBytes ** 2;
    t += weight * seconds;
    st += weight * sizeBytes * seconds;
  }
  const slope = (n * st - s * t) / (n * ss - s * s);
  const fastest = Math.max(0, ...sizes.map((rate) => rate.bytesPerSec));
  // Noise can tilt the line so far that it means nothing; then bytes cost what the fastest reads say, and operations nothing.
  if (!(slope > 0)) return { operationSec: 0, bandwidthBytesPerSec: fastest };
  return { operationSec: Math.max(0, (t - slope * s) / n), bandwidthBytesPerSec: 1 / slope };
}

/** `gap`, but no longer than the reads at which the device stops to be bound by operations. */
function worthwhileGap(sizes: readonly SizeRate[], gap: number): number {
  const fastest = Math.max(0, ...sizes.map((rate) => rate.bytesPerSec));
  const bound = sizes.filter((rate) => rate.bytesPerSec < SATURATED * fastest).map((rate) => rate.sizeBytes);
  return Math.floor(Math.min(gap, Math.max(0, ...bound)) / GAP_STEP_BYTES) * GAP_STEP_BYTES;
}
