/**
 * What reads of a file cost, measured in the way that the engine reads: batches of record-sized reads at ascending places within one
 * layer's stretch of the file, begun together and waited for together.
 */
import { statSync } from "node:fs";
import { type OnProgress, Random } from "@flashwick/core";
import { batchReadMs, type FlashProfile, type ReadRatePoint } from "@flashwick/cost-model";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import { openFileReader, openFlashReader, type ThreadedReader } from "@flashwick/flash-io/node";
import { type Effort, interleave, mean, median, spreadOf, timeMs, trimmedMean, turn, typicalMs } from "./figures.js";
import { memoryBeyondFragments } from "./memory-beyond-fragments.js";
import { measureStream, STREAM_MEMORY_BYTES } from "./stream-profile.js";

/** Small files are read through the page cache: {@link measureBufferedFlash}. */
type FlashEffort = Exclude<Effort, "small">;

export interface FlashMeasurement {
  /** A file on the device, of at least {@link STRETCH_BYTES} for fair figures. */
  readonly path: string;
  readonly effort: FlashEffort;
  /** Keeps all compute threads busy with about so many bytes of weights; returns those that it has passed over. */
  readonly compute: (bytes: number) => number;
  /** As a stream wants it (`StreamMeasurement`); null: streams are not measured. */
  readonly firstMemory: Uint8Array | null;
  readonly onProgress: OnProgress | undefined;
  readonly signal: AbortSignal | undefined;
}

const KiB = 1024;
const MiB = 1024 * KiB;
/** As much as a layer of OPT-6.7B. */
const STRETCH_BYTES = 256 * MiB;
const BATCH_BYTES = 8 * MiB;
const MOST_BATCH_READS = 512;
/** Of the read bench. */
const READ_MEMORY_BYTES = 2 * BATCH_BYTES + MiB;
const STREAM_READ_BYTES = MiB;
const WARM_UP_READS = { full: 6000, quick: 6000, brief: 1000 };
/** Of arithmetic beside or between reads: about a millisecond. */
const COMPUTE_BYTES = 16 * MiB;
/** Of a neuron's record: what batches and pieces are measured with. */
const RECORD_BYTES = 16 * KiB;

/** Of one measured depth and size: batches until so much time has passed. */
const TURN_MS = { full: 60, quick: 25, brief: 6 };
const PASSES = { full: 3, quick: 2, brief: 1 };
/** Batches of a layer's misses are short where most are hits. */
const BATCH_COUNTS = [16, 48, 144];
const BATCH_PASSES = { full: 30, quick: 30, brief: 3 };
const PIECE_PASSES = { full: 12, quick: 12, brief: 2 };
const TOGETHER_PASSES = { full: 5, quick: 5, brief: 1 };
const CACHE_PASSES = { full: 5, quick: 5, brief: 3 };
const SIZES = {
  full: [4, 8, 16, 32, 64, 128, 1024],
  quick: [4, 8, 16, 64, 1024],
  brief: [4, 16, 64, 1024],
};
/** Each read in flight is a thread, which takes some 20 ms to start. */
const DEPTHS = { full: [1, 4, 8, 16, 32], quick: [1, 8, 16, 32], brief: [1, 8] };

/**
 * The same of a file that is read by the calling thread, through the page cache: what it takes there is all that is measured, in some 20 ms.
 *
 * @throws As the reader does; the signal's own reason.
 */
export async function measureBufferedFlash(path: string, signal: AbortSignal | undefined): Promise<FlashProfile> {
  const pageCache = await measurePageCache(path, "brief", signal);
  const { operationUs, bytesPerSec } = pageCache;
  const sizeBytes = RECORD_BYTES;
  const ofRecords = sizeBytes / (operationUs / 1e6 + sizeBytes / bytesPerSec);
  return {
    mode: "buffered",
    alignmentBytes: 1,
    sequentialBytesPerSec: bytesPerSec,
    reads: [{ sizeBytes, depth: 1, bytesPerSec: ofRecords, spread: null }],
    batches: [{ depth: 1, us: 0 }],
    pieceUs: 0,
    shareUnderCompute: null,
    computeShareUnderReads: null,
    pageCache,
    stream: null,
  };
}

/** Measures a device through a file. @throws As the reader does; the signal's own reason. */
export async function measureFlash(measurement: FlashMeasurement): Promise<FlashProfile> {
  const { path, effort, firstMemory, signal } = measurement;
  const depths = DEPTHS[effort];
  const most = depths.at(-1)!;
  const reader = await openFlashReader(path, { readers: most, mergeGapBytes: 0, ...(signal ? { signal } : {}) });
  try {
    await reader.grow(most);
    const memory = memoryOf(effort);
    const bench = new ReadBench(reader, memory, effort, signal);
    await bench.warmUp();
    const sizes = SIZES[effort].map((kib) => kib * KiB).filter((size) => size <= bench.stretchBytes / 8);
    const cases = depths.flatMap((depth) => sizes.map((sizeBytes) => ({ depth, sizeBytes })));
    let done = 0;
    const total = cases.length * PASSES[effort];
    const rates = await interleave(
      cases,
      PASSES[effort],
      async (of) => {
        const rate = await bench.rate(of.depth, of.sizeBytes);
        measurement.onProgress?.({ phase: "reads", loaded: ++done, total, unit: "steps" });
        return rate;
      },
      signal,
    );
    const reads = cases.map(
      ({ depth, sizeBytes }, i): ReadRatePoint => ({
        sizeBytes,
        depth,
        bytesPerSec: median(rates[i]!),
        spread: spreadOf(rates[i]!),
      }),
    );
    const best = bestDepth(reads);
    const sequential = await interleave([0], 2 * PASSES[effort], () => bench.streamRate(best), signal);
    const bare: FlashProfile = {
      mode: reader.mode,
      alignmentBytes: reader.alignmentBytes,
      sequentialBytesPerSec: median(sequential[0]!),
      reads,
      batches: [{ depth: 1, us: 0 }],
      pieceUs: 0,
      shareUnderCompute: null,
      computeShareUnderReads: null,
      pageCache: null,
      stream: null,
    };
    const compute = () => measurement.compute(COMPUTE_BYTES);
    return {
      ...bare,
      batches: await bench.batches(bare, depths, compute),
      pieceUs: await bench.pieceUs(best),
      ...(await bench.together(best, compute)),
      stream:
        effort === "brief" || firstMemory === null
          ? null
          : await measureStream({ ...measurement, effort, reader, firstMemory, memory }),
      pageCache: await measurePageCache(path, effort, signal),
    };
  } finally {
    await reader.close();
  }
}

/** Where reads land: what the read bench needs, or what streams need, which is more. Half a GiB of fragments is too much for a brief measurement. */
function memoryOf(effort: FlashEffort): Uint8Array {
  return effort === "brief" ? memoryBeyondFragments(READ_MEMORY_BYTES, 0) : memoryBeyondFragments(STREAM_MEMORY_BYTES);
}

function bestDepth(reads: readonly ReadRatePoint[]): number {
  const ofRecords = reads.filter(({ sizeBytes }) => sizeBytes === RECORD_BYTES);
  return (ofRecords.length > 0 ? ofRecords : reads).reduce((a, b) => (b.bytesPerSec > a.bytesPerSec ? b : a)).depth;
}

/** A reader, a place to land, and a stretch of the file. */
class ReadBench {
  readonly stretchBytes: number;
  readonly #reader: ThreadedReader;
  readonly #effort: FlashEffort;
  readonly #signal: AbortSignal | undefined;
  readonly #memory: Uint8Array;
  readonly #random = new Random(1);

  constructor(reader: ThreadedReader, memory: Uint8Array, effort: FlashEffort, signal: AbortSignal | undefined) {
    this.#reader = reader;
    this.#effort = effort;
    this.#signal = signal;
    this.stretchBytes = Math.min(STRETCH_BYTES, reader.fileBytes);
    this.#memory = memory;
  }

  /** Fresh threads interpret their code at first. */
  async warmUp(): Promise<void> {
    for (let reads = 0; reads < WARM_UP_READS[this.#effort]; reads += MOST_BATCH_READS) {
      await this.#batch(this.#records(MOST_BATCH_READS, 4 * KiB));
      await turn(this.#signal);
    }
  }

  /** Bytes a second of reads of one size, batch after batch. */
  async rate(depth: number, sizeBytes: number): Promise<number> {
    this.#reader.limit(depth);
    const count = Math.max(4, Math.min(MOST_BATCH_READS, Math.floor(BATCH_BYTES / sizeBytes)));
    let [bytes, ms] = [0, 0];
    while (ms < TURN_MS[this.#effort]) {
      const runs = this.#records(count, sizeBytes);
      ms += await timeMs(() => this.#batch(runs));
      bytes += count * sizeBytes;
    }
    return (1000 * bytes) / ms;
  }

  /** Bytes a second of large reads in order, a chunk at a time. */
  async streamRate(depth: number): Promise<number> {
    this.#reader.limit(depth);
    const reads = Math.floor(BATCH_BYTES / STREAM_READ_BYTES);
    let at = this.#random.below(Math.max(1, Math.floor(this.#reader.fileBytes / BATCH_BYTES) - 32)) * BATCH_BYTES;
    let [bytes, ms] = [0, 0];
    while (ms < 2 * TURN_MS[this.#effort]) {
      if (at + BATCH_BYTES > this.#reader.fileBytes) at = 0;
      const size = Math.min(STREAM_READ_BYTES, Math.floor(this.#reader.fileBytes / reads / 4096) * 4096);
      const runs = Array.from({ length: reads }, (_, i) => plainRun(at + i * size, size, i * size));
      ms += await timeMs(() => this.#batch(runs));
      bytes += reads * size;
      at += reads * size;
    }
    return (1000 * bytes) / ms;
  }

  /**
   * What batches take beyond what their reads do by the table, at each depth: between two batches the engine computes, meanwhile reader
   * threads fall asleep, and after one its compute threads have to be woken.
   */
  async batches(
    flash: FlashProfile,
    depths: readonly number[],
    compute: () => number,
  ): Promise<FlashProfile["batches"]> {
    const cases = depths.flatMap((depth) => BATCH_COUNTS.map((count) => ({ depth, count })));
    const times = await interleave(
      [{ depth: 1, count: 0 }, ...cases],
      BATCH_PASSES[this.#effort],
      (of) => this.#betweenWork(of.depth, of.count, compute),
      this.#signal,
    );
    const isBrief = this.#effort === "brief";
    const [alone, ...together] = times.map((ms) => (isBrief ? Math.min(...ms) : trimmedMean(ms)));
    const beyond = cases.map(({ depth, count }, i) => ({
      depth,
      us: 1000 * (together[i]! - alone! - batchReadMs(flash, count, RECORD_BYTES, depth)),
    }));
    return depths.map((depth) => {
      const us = mean(beyond.filter((figure) => figure.depth === depth).map((figure) => figure.us));
      return { depth, us: Math.max(0, us) };
    });
  }

  async #betweenWork(depth: number, count: number, compute: () => number): Promise<number> {
    this.#reader.limit(depth);
    const runs = count > 0 ? this.#records(count, RECORD_BYTES) : [];
    compute();
    return await timeMs(async () => {
      if (count > 0) await this.#batch(runs);
      compute();
    });
  }

  /** What each piece more than one costs a read. */
  async pieceUs(depth: number): Promise<number> {
    this.#reader.limit(depth);
    const size = 4 * RECORD_BYTES;
    const count = Math.floor(BATCH_BYTES / size);
    const [plain, scattered] = await interleave(
      [1, 4],
      PIECE_PASSES[this.#effort],
      async (pieces) => {
        const runs = this.#records(count, size).map((run) => scatter(run, pieces));
        return await timeMs(() => this.#batch(runs));
      },
      this.#signal,
    );
    return Math.max(0, (1000 * (typicalMs(scattered!, this.#effort) - typicalMs(plain!, this.#effort))) / (3 * count));
  }

  /** What reads and arithmetic leave each other. */
  async together(
    depth: number,
    compute: () => number,
  ): Promise<Pick<FlashProfile, "shareUnderCompute" | "computeShareUnderReads">> {
    this.#reader.limit(depth);
    const count = MOST_BATCH_READS;
    const readShares: number[] = [];
    const computeShares: number[] = [];
    for (let pass = 0; pass < TOGETHER_PASSES[this.#effort]; pass++) {
      const runs = this.#records(count, RECORD_BYTES);
      const readAlone = await timeMs(() => this.#batch(runs));
      const alone = await computeRate(compute, readAlone);
      // The last read's end is seen between two pieces of work only: a few batches, so that this is little of the whole.
      const begin = performance.now();
      let passed = 0;
      for (let batch = 0; batch < 3; batch++) {
        this.#reader.start(this.#memory, runs, this.#signal);
        while (this.#reader.countLanded() < count) passed += compute();
        const pending = this.#reader.wait();
        if (pending) await pending;
      }
      const ms = performance.now() - begin;
      readShares.push(Math.min(1, (3 * readAlone) / ms));
      computeShares.push(Math.min(1, passed / ms / alone));
      await turn(this.#signal);
    }
    return { shareUnderCompute: median(readShares), computeShareUnderReads: median(computeShares) };
  }

  #batch(runs: readonly FlashRun[]): void | Promise<void> {
    this.#reader.start(this.#memory, runs, this.#signal);
    return this.#reader.wait();
  }

  /** `count` places of one size, ascending, within one stretch of the file; each lands at a place of its own. */
  #records(count: number, sizeBytes: number): FlashRun[] {
    const places = Math.floor(this.stretchBytes / sizeBytes);
    const stretches = Math.max(1, Math.floor(this.#reader.fileBytes / this.stretchBytes));
    const base = this.#random.below(stretches) * this.stretchBytes;
    const chosen = new Set<number>();
    while (chosen.size < Math.min(count, places)) chosen.add(this.#random.below(places));
    const room = Math.floor(this.#memory.byteLength / sizeBytes);
    return [...chosen]
      .sort((a, b) => a - b)
      .map((place, i) => plainRun(base + place * sizeBytes, sizeBytes, (i % room) * sizeBytes));
  }
}

function plainRun(offset: number, sizeBytes: number, ptr: number): FlashRun {
  return { offset, sizeBytes, pieces: [{ ptr, sizeBytes }], picks: 0 };
}

/** The same read to several pieces, which do not follow each other. */
function scatter(run: FlashRun, pieces: number): FlashRun {
  if (pieces === 1) return run;
  const size = run.sizeBytes / pieces;
  const { ptr } = run.pieces[0]!;
  return {
    ...run,
    pieces: Array.from({ length: pieces }, (_, i) => ({ ptr: ptr + (pieces - 1 - i) * size, sizeBytes: size })),
  };
}

/** Bytes a millisecond. */
async function computeRate(compute: () => number, ms: number): Promise<number> {
  let passed = 0;
  const begin = performance.now();
  do passed += compute();
  while (performance.now() - begin < ms);
  return passed / (performance.now() - begin);
}

const CACHED_BYTES = 8 * MiB;

type PageCacheRate = NonNullable<FlashProfile["pageCache"]>;

/** Reads of what is in the page cache, on this thread: an operation, and bytes a second. */
async function measurePageCache(
  path: string,
  effort: FlashEffort,
  signal: AbortSignal | undefined,
): Promise<PageCacheRate> {
  const reader = await openFileReader(path);
  try {
    const memory = new Uint8Array(Math.min(CACHED_BYTES, statSync(path).size));
    const sizes = [4 * KiB, 256 * KiB];
    const readAll = (size: number) => readWhole(reader, memory, size);
    await readAll(sizes[1]!);
    const times = await interleave(sizes, CACHE_PASSES[effort], (size) => timeMs(() => readAll(size)), signal);
    const [small, large] = sizes.map((size, i) => typicalMs(times[i]!, effort) / (memory.byteLength / size));
    const msPerByte = Math.max(1e-9, (large! - small!) / (sizes[1]! - sizes[0]!));
    return { operationUs: Math.max(0, 1000 * (small! - msPerByte * sizes[0]!)), bytesPerSec: 1000 / msPerByte };
  } finally {
    await reader.close();
  }
}

async function readWhole(reader: FlashReader, memory: Uint8Array, size: number): Promise<void> {
  const runs = Array.from({ length: Math.ceil(memory.byteLength / size) }, (_, i) =>
    plainRun(i * size, Math.min(size, memory.byteLength - i * size), i * size),
  );
  reader.start(memory, runs);
  const pending = reader.wait();
  if (pending) await pending;
}
