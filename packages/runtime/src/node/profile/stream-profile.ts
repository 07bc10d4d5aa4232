/**
 * What streaming layers costs, measured in the way that the engine streams them: chunks of its sizes, each in reads for all readers, begun together and
 * waited for together, alone and beside arithmetic on every core.
 *
 * Chunks land at many places of memory as a large model has it (memory-beyond-fragments.ts), and of memory as a small one has it. An engine has two areas,
 * and nobody knows before which pages they will be: on a virtual disk what is read into scattered pages takes up to three times as long, so that a mean is
 * what can be expected.
 */
import {
  exposedReadMs,
  type OverlapShares,
  type ReadRatePoint,
  type StreamProfile,
  streamReadBytes,
} from "@flashwick/cost-model";
import type { FlashRun } from "@flashwick/flash-io";
import type { ThreadedReader } from "@flashwick/flash-io/node";
import { type Effort, interleave, mean, median, spreadOf, timeMs, turn } from "./figures.js";
import { FRAGMENTS_BYTES } from "./memory-beyond-fragments.js";

export interface StreamMeasurement {
  /** With threads for 32 reads in flight. */
  readonly reader: ThreadedReader;
  readonly effort: Exclude<Effort, "brief" | "small">;
  /** Keeps all compute threads busy with about so many bytes of weights; returns those that it has passed over. */
  readonly compute: (bytes: number) => number;
  /** Of the first that this process was given, {@link STREAM_MEMORY_BYTES}: a small model has no other. */
  readonly firstMemory: Uint8Array;
  /** As a large model has it, {@link STREAM_MEMORY_BYTES} too. */
  readonly memory: Uint8Array;
  readonly signal: AbortSignal | undefined;
}

const MiB = 2 ** 20;
/** Of a small model's stream up to the longest. */
const CHUNKS = { full: [MiB / 2, MiB, 2 * MiB, 4 * MiB, 8 * MiB], quick: [MiB, 2 * MiB, 8 * MiB] };
const READERS = { full: [1, 4, 8, 16, 32], quick: [8, 32] };
const PASSES = { full: 5, quick: 3 };
/** Places that chunks land at, so far apart. */
const PLACES = 16;
const PLACE_BYTES = 4 * MiB;
export const STREAM_MEMORY_BYTES = (PLACES - 1) * PLACE_BYTES + 8 * MiB;
/** Beside arithmetic: chunks of two sizes, by the fewest readers that a plan takes for a stream. */
const BESIDE = { chunks: [MiB, 8 * MiB], readers: 8, passes: { full: 15, quick: 7 }, bytes: 16 * MiB };
/** Short beside a chunk, so that its end is seen soon. */
const UNIT_BYTES = MiB / 2;

/** Measures streams of the reader's file; null where it is shorter than a chunk. @throws As the reader does; the signal's own reason. */
export async function measureStream(measurement: StreamMeasurement): Promise<StreamProfile | null> {
  const { reader, effort: how, signal } = measurement;
  const fits = (bytes: number) => bytes <= reader.fileBytes;
  const cases = READERS[how].flatMap((readers) => CHUNKS[how].filter(fits).map((bytes) => ({ readers, bytes })));
  if (cases.length === 0) return null;
  const bench = new StreamBench(measurement, measurement.memory);
  await bench.pass({ readers: READERS[how].at(-1)!, bytes: Math.min(PLACE_BYTES, cases.at(-1)!.bytes) });
  const chunks = await chunkRates(bench, cases, measurement);
  const first = await chunkRates(new StreamBench(measurement, measurement.firstMemory), cases, measurement);
  const beside: BesideFigures[] = [];
  for (let pass = 0; pass < BESIDE.passes[how]; pass++) {
    for (const bytes of BESIDE.chunks.filter(fits)) {
      beside.push(await bench.beside({ readers: BESIDE.readers, bytes }));
      await turn(signal);
    }
  }
  const shares = sharesOf(beside);
  const firstMemory = { sizeBytes: FRAGMENTS_BYTES, chunks: first };
  return { chunks, firstMemory, chunkUs: chunkUsOf(beside, shares), ...shares };
}

async function chunkRates(
  bench: StreamBench,
  cases: readonly StreamCase[],
  { effort, signal }: StreamMeasurement,
): Promise<ReadRatePoint[]> {
  const times = await interleave(cases, PASSES[effort], (of) => bench.pass(of), signal);
  return cases.map(({ readers, bytes }, i) => ({
    sizeBytes: bytes,
    depth: readers,
    bytesPerSec: (1000 * bytes) / median(times[i]!),
    spread: spreadOf(times[i]!),
  }));
}

interface StreamCase {
  readonly readers: number;
  /** Of a chunk. */
  readonly bytes: number;
}

/** Of some chunks of one size, each: milliseconds, and bytes that arithmetic passed over. */
interface BesideFigures {
  readonly aloneMs: number;
  /** Of arithmetic alone. */
  readonly bytesPerMs: number;
  /** Arithmetic until the chunk has landed. */
  readonly fullMs: number;
  readonly fullBytes: number;
  /** Arithmetic for about half of the time that the chunk takes alone. */
  readonly halfMs: number;
  readonly halfBytes: number;
}

function sharesOf(figures: readonly BesideFigures[]): OverlapShares {
  const share = (of: (figure: BesideFigures) => number) => Math.min(1, median(figures.map(of)));
  return {
    shareUnderCompute: share(({ aloneMs, fullMs }) => aloneMs / fullMs),
    computeShareUnderReads: share(({ fullBytes, fullMs, bytesPerMs }) => fullBytes / fullMs / bytesPerMs),
  };
}

/** What is left where arithmetic ends before the reads do. */
function chunkUsOf(figures: readonly BesideFigures[], shares: OverlapShares): number {
  const beyondMs = figures.map(({ aloneMs, bytesPerMs, halfMs, halfBytes }) => {
    const meanwhileMs = halfBytes / bytesPerMs;
    return halfMs - meanwhileMs - exposedReadMs(shares, aloneMs, meanwhileMs);
  });
  return Math.max(0, 1000 * median(beyondMs));
}

class StreamBench {
  readonly #reader: ThreadedReader;
  readonly #compute: (bytes: number) => number;
  readonly #signal: AbortSignal | undefined;
  readonly #memory: Uint8Array;
  #place = 0;
  #offset = 0;

  constructor({ reader, compute, signal }: StreamMeasurement, memory: Uint8Array) {
    this.#reader = reader;
    this.#compute = compute;
    this.#signal = signal;
    this.#memory = memory;
  }

  /** Milliseconds of a chunk alone, on average over all places. */
  async pass(of: StreamCase): Promise<number> {
    return await this.#each(of, PLACES, () => {});
  }

  async beside(of: StreamCase): Promise<BesideFigures> {
    const count = Math.max(2, Math.round(BESIDE.bytes / of.bytes));
    const aloneMs = await this.#each(of, count, () => {});
    const bytesPerMs = this.#computeRate(count * aloneMs);
    const [full, half] = [{ bytes: 0 }, { bytes: 0 }];
    const fullMs = await this.#each(of, count, (runs) => {
      while (this.#reader.countLanded() < runs) full.bytes += this.#compute(UNIT_BYTES);
    });
    const units = Math.max(1, Math.round((0.5 * aloneMs * bytesPerMs) / UNIT_BYTES));
    const halfMs = await this.#each(of, count, () => {
      for (let unit = 0; unit < units; unit++) half.bytes += this.#compute(UNIT_BYTES);
    });
    return { aloneMs, bytesPerMs, fullMs, fullBytes: full.bytes / count, halfMs, halfBytes: half.bytes / count };
  }

  /** Chunk after chunk, `meanwhile` while each is in flight. */
  async #each({ readers, bytes }: StreamCase, count: number, meanwhile: (runs: number) => void): Promise<number> {
    this.#reader.limit(readers);
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const runs = this.#chunk(bytes, readers);
      times.push(
        await timeMs(async () => {
          this.#reader.start(this.#memory, runs, this.#signal);
          meanwhile(runs.length);
          const pending = this.#reader.wait();
          if (pending) await pending;
        }),
      );
    }
    return mean(times);
  }

  /** The next chunk of the file, for the next place in memory. */
  #chunk(bytes: number, readers: number): FlashRun[] {
    if (this.#offset + bytes > this.#reader.fileBytes) this.#offset = 0;
    const [base, offset] = [this.#place * PLACE_BYTES, this.#offset];
    this.#place = (this.#place + 1) % PLACES;
    this.#offset += bytes;
    const readBytes = streamReadBytes(bytes, readers);
    return Array.from({ length: Math.ceil(bytes / readBytes) }, (_, i) => {
      const sizeBytes = Math.min(readBytes, bytes - i * readBytes);
      const ptr = base + i * readBytes;
      return { offset: offset + i * readBytes, sizeBytes, pieces: [{ ptr, sizeBytes }], picks: 0 };
    });
  }

  /** Bytes a millisecond of arithmetic alone. */
  #computeRate(ms: number): number {
    let passed = 0;
    const begin = performance.now();
    do passed += this.#compute(UNIT_BYTES);
    while (performance.now() - begin < ms);
    return passed / (performance.now() - begin);
  }
}
