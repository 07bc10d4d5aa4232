/**
 * The physical limit of a run, measured right after it in the same process: DRAM by a loop that only reads, on the threads that computed and in
 * the arenas that they computed in; flash by random reads of the run's mean size from its own file, by its own readers; then both at the same time.
 * Of several turns the best counts, since a limit is what the machine can do and not what others leave of it.
 *
 * Nothing is opened or allocated for it but a place for the reads to land, so that it stands within the run's own memory.
 */
import { eventLoopTurn, Random, type RunLimit } from "@flashwick/core";
import type { Bandwidths } from "@flashwick/cost-model";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import { landingMemory, measureReadRate, ThreadedReader } from "@flashwick/flash-io/node";
import { ARENA_RESERVED_BYTES, type Arena } from "@flashwick/kernels";
import { SMALL_FILE_BYTES } from "../compute.js";
import type { Model } from "../model.js";
import { countDecoded, type FinishedRun, type MeasuredBandwidths, runLimit, tokenDramBytes } from "../run-limit.js";

/**
 * Files below this are not worth it: they lie in the page cache, where the calling thread reads them, and one of their tokens fits the
 * processor's caches, so that neither flash nor DRAM is what limits them.
 */
export const LIMIT_FILE_BYTES = SMALL_FILE_BYTES;

/** Reads bytes of an arena with all compute threads, and does nothing with them. */
export type ReadLoop = (arena: Arena, ptr: number, sizeBytes: number) => void;

/** What a model's runs work with. */
export interface RunMachine {
  readonly readLoop: ReadLoop;
  /** Those that an engine works in at present. */
  readonly arenas: ReadonlySet<Arena>;
}

const machines = new WeakMap<Model, RunMachine>();

/** Notes what a model that is opened in Node runs on, for {@link measureLimit}. */
export function noteMachine(model: Model, machine: RunMachine): void {
  machines.set(model, machine);
}

/** How long {@link measureLimit} measures. */
export interface MeasureLimitOptions {
  /** Of each of the three measurements. Default 0.5. */
  readonly seconds?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The limit of a run that `model` has just made, between two of its requests.
 *
 * @returns Null where there is nothing to measure: nothing was decoded, the oracle looked at all neurons, or a device computed.
 * @throws As the reader does; the signal's own reason.
 * Cost: three times `seconds`, all threads, and memory for one read a reader.
 */
export async function measureLimit(
  model: Model,
  run: FinishedRun,
  options: MeasureLimitOptions = {},
): Promise<RunLimit | null> {
  const machine = machines.get(model);
  const { stats } = run;
  if (!machine || machine.arenas.size === 0 || stats.mode === "oracle" || countDecoded(stats) === 0) return null;
  const { seconds = 0.5, signal } = options;
  const { reader, predictor, clock } = model.parts;
  const dramBytes = tokenDramBytes(model.header, predictor, run);
  const dram = new DramLoop(machine, dramBytes, clock);
  const turnSeconds = seconds / TURNS;
  if (stats.flashReads === 0) {
    const turns = await inTurns(() => dram.measure(turnSeconds, signal));
    return runLimit(stats, dramBytes, { dramBytesPerSec: Math.max(...turns), flashBytesPerSec: 0, together: null });
  }
  const flash = new FlashLoop(reader, model.header.fileBytes, stats.flashBytesPerToken / stats.readsPerToken, clock);
  try {
    const turns = await inTurns(async () => ({
      dramBytesPerSec: await dram.measure(turnSeconds, signal),
      flashBytesPerSec: await flash.measure(turnSeconds, signal),
      together: await flash.measureBeside(dram, turnSeconds, signal),
    }));
    return runLimit(stats, dramBytes, bestOf(turns));
  } finally {
    flash.release();
  }
}

const TURNS = 4;

async function inTurns<T>(measure: () => Promise<T>): Promise<T[]> {
  const turns: T[] = [];
  for (let turn = 0; turn < TURNS; turn++) turns.push(await measure());
  return turns;
}

/** Others on the machine only ever slow it down. Of both at once a pair counts that was measured as one: the one that lost least. */
function bestOf(turns: readonly MeasuredBandwidths[]): MeasuredBandwidths {
  const pairs = turns.flatMap(({ together }) => (together ? [together] : []));
  const product = ({ dramBytesPerSec, flashBytesPerSec }: Bandwidths) => dramBytesPerSec * flashBytesPerSec;
  return {
    dramBytesPerSec: Math.max(...turns.map(({ dramBytesPerSec }) => dramBytesPerSec)),
    flashBytesPerSec: Math.max(...turns.map(({ flashBytesPerSec }) => flashBytesPerSec)),
    together: pairs.length === 0 ? null : pairs.reduce((a, b) => (product(b) > product(a) ? b : a)),
  };
}

/** One hand-off to the threads: long beside what that costs, short beside a look at the clock. */
const SLICE_BYTES = 4 * 2 ** 20;
/** Between two turns of the event loop, in which the threads may fall asleep. */
const SLICES_A_LOOK = 16;

/** Passes over as many bytes as a token reads, again and again. */
class DramLoop {
  readonly #machine: RunMachine;
  readonly #slices: readonly { readonly arena: Arena; readonly ptr: number; readonly sizeBytes: number }[];
  readonly #clock: () => number;
  #next = 0;
  /** Since {@link reset}. */
  #bytes = 0;
  #ms = 0;

  constructor(machine: RunMachine, tokenBytes: number, clock: () => number) {
    this.#machine = machine;
    this.#clock = clock;
    const slices = [];
    let left = Math.max(64, Math.floor(tokenBytes / 64) * 64);
    for (const arena of machine.arenas) {
      for (let ptr = ARENA_RESERVED_BYTES; ptr < arena.sizeBytes && left > 0; ptr += SLICE_BYTES) {
        const sizeBytes = Math.min(SLICE_BYTES, arena.sizeBytes - ptr, left);
        slices.push({ arena, ptr, sizeBytes });
        left -= sizeBytes;
      }
    }
    this.#slices = slices;
  }

  /** Bytes a second, over `seconds`. */
  async measure(seconds: number, signal: AbortSignal | undefined): Promise<number> {
    this.reset();
    while (this.#ms < 1000 * seconds) {
      for (let i = 0; i < SLICES_A_LOOK; i++) this.step();
      await eventLoopTurn();
      signal?.throwIfAborted();
    }
    return this.bytesPerSec;
  }

  /** The next slice. */
  step(): void {
    const { arena, ptr, sizeBytes } = this.#slices[this.#next]!;
    this.#next = (this.#next + 1) % this.#slices.length;
    const begin = this.#clock();
    this.#machine.readLoop(arena, ptr, sizeBytes);
    this.#ms += this.#clock() - begin;
    this.#bytes += sizeBytes;
  }

  reset(): void {
    [this.#bytes, this.#ms] = [0, 0];
  }

  get bytesPerSec(): number {
    return (1000 * this.#bytes) / this.#ms;
  }
}

/** Reads of a batch where the calling thread reads. */
const BATCH_READS = 64;

/** Random reads of one size from the model file. */
class FlashLoop {
  readonly #reader: FlashReader;
  readonly #fileBytes: number;
  readonly #sizeBytes: number;
  readonly #memory: Uint8Array;
  readonly #clock: () => number;
  readonly #random = new Random(1);

  constructor(reader: FlashReader, fileBytes: number, meanReadBytes: number, clock: () => number) {
    this.#reader = reader;
    this.#fileBytes = fileBytes;
    this.#clock = clock;
    const { alignmentBytes } = reader;
    const aligned = Math.max(1, Math.round(meanReadBytes / alignmentBytes)) * alignmentBytes;
    this.#sizeBytes = Math.min(aligned, Math.max(1, Math.floor(fileBytes / alignmentBytes)) * alignmentBytes);
    this.#memory = landingMemory(Math.max(1, reader.readers), this.#sizeBytes);
  }

  /** Bytes a second of reads alone. */
  async measure(seconds: number, signal: AbortSignal | undefined): Promise<number> {
    if (!(this.#reader instanceof ThreadedReader)) return await this.#measureOnThisThread(seconds, signal);
    return (await measureReadRate(this.#reader, this.#memory, this.#load(seconds, signal))).bytesPerSec;
  }

  /** Both at the same time; null where the calling thread reads, which cannot do anything meanwhile. */
  async measureBeside(dram: DramLoop, seconds: number, signal: AbortSignal | undefined): Promise<Bandwidths | null> {
    if (!(this.#reader instanceof ThreadedReader)) return null;
    dram.reset();
    const load = { ...this.#load(seconds, signal), meanwhile: () => dram.step() };
    const { bytesPerSec } = await measureReadRate(this.#reader, this.#memory, load);
    return { dramBytesPerSec: dram.bytesPerSec, flashBytesPerSec: bytesPerSec };
  }

  release(): void {
    this.#reader.release(this.#memory);
  }

  #load(seconds: number, signal: AbortSignal | undefined) {
    return { fileBytes: this.#fileBytes, sizeBytes: this.#sizeBytes, seconds, random: this.#random, signal };
  }

  async #measureOnThisThread(seconds: number, signal: AbortSignal | undefined): Promise<number> {
    const sizeBytes = this.#sizeBytes;
    const places = Math.floor(this.#fileBytes / sizeBytes);
    let [bytes, ms] = [0, 0];
    while (ms < 1000 * seconds) {
      const runs = Array.from(
        { length: BATCH_READS },
        (): FlashRun => ({
          offset: this.#random.below(places) * sizeBytes,
          sizeBytes,
          pieces: [{ ptr: 0, sizeBytes }],
          picks: 0,
        }),
      );
      const begin = this.#clock();
      this.#reader.start(this.#memory, runs, signal);
      await this.#reader.wait();
      ms += this.#clock() - begin;
      bytes += BATCH_READS * sizeBytes;
      await eventLoopTurn();
      signal?.throwIfAborted();
    }
    return (1000 * bytes) / ms;
  }
}
