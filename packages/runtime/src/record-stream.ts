/**
 * A layer's records of one kind on their way through DRAM, in order and in chunks.
 *
 * A layer that streams passes through its arena's stage. Either it refills the cache: all of it is read. Or records that have a slot are used where
 * they are, and the others are read. A layer with a slot for every record is filled in place.
 */
import { assert } from "@flashwick/core";
import type { FlashRun } from "@flashwick/flash-io";
import type { Ptr } from "@flashwick/kernels";
import {
  cutChunks,
  type StageArea,
  type StreamAhead,
  type StreamChunk,
  type StreamedLayer,
  type StreamStage,
} from "./layer-stream.js";
import type { RecordSlots } from "./record-slots.js";
import type { TokenMeter } from "./token-meter.js";

/** A chunk on its way: where its records go that are not in slots, and how. */
interface IssuedChunk {
  readonly area: StageArea;
  /** Those that are read, ascending. */
  readonly units: Uint32Array;
  readonly runs: readonly FlashRun[];
}

/** A chunk that has landed and was checked. */
export type LandedChunk = Pick<IssuedChunk, "area" | "units">;

/**
 * Resident records that are read over in a stream: what a device that gives 2.5 GB/s in sequence and 75 thousand operations a second reads in the
 * time of one (docs/results/ladder.md). Into the stage they come in order, so that unlike between single reads nothing is gathered.
 */
const STREAM_GAP_BYTES = 32 * 1024;

export class RecordStream implements StreamedLayer {
  readonly #slots: RecordSlots;
  readonly #stage: StreamStage;
  readonly #chunks: readonly StreamChunk[];
  /** Resident records between two absent ones are read once more if they are no more than this. */
  readonly #bridged: number;
  #issued: IssuedChunk | null = null;
  #landed: IssuedChunk | null = null;

  constructor(slots: RecordSlots, stage: StreamStage) {
    this.#slots = slots;
    this.#stage = stage;
    const { all, slotBytes, places, gap } = slots.parts;
    this.#chunks = cutChunks(all.length, stage.neurons);
    const { strideBytes } = places[0]!;
    assert(slotBytes === places.length * strideBytes, "a slot is as long as its records");
    this.#bridged = Math.floor(Math.max(gap.maxGapBytes, STREAM_GAP_BYTES) / strideBytes);
  }

  /** Whether the layer has a slot for every record. */
  get fillsInPlace(): boolean {
    const { cache, all } = this.#slots.parts;
    return cache.slotCount >= all.length;
  }

  streamChunks(): readonly StreamChunk[] {
    return this.fillsInPlace && this.#slots.cache.numUsed > 0 ? [] : this.#chunks;
  }

  startChunk(chunk: StreamChunk, refill: boolean, signal?: AbortSignal): void {
    const { cache, all, reader, kernels } = this.#slots.parts;
    if (refill && !this.fillsInPlace && chunk.first === 0) cache.clear();
    const range = all.subarray(chunk.first, chunk.first + chunk.count);
    const area = this.fillsInPlace
      ? { ptr: this.#slots.slotPtr(chunk.first), upBias: 0, gateBias: 0 }
      : this.#stage.nextArea();
    // A device has the chunk's records side by side: what it would save is less than what gathering them takes.
    const isWhole = refill || this.fillsInPlace || kernels.mirrored;
    const units = isWhole ? range : this.#toRead(range);
    this.#issued = { area, units, runs: this.#slots.planInOrder(area.ptr, units) };
    reader.start(kernels.arena.bytes, this.#issued.runs, signal);
  }

  /** Stretches of all records, with room for each in the stage, which nothing else uses meanwhile. */
  *stretches(): Generator<StreamChunk & { readonly ptr: Ptr }> {
    for (const chunk of cutChunks(this.#slots.parts.all.length, this.#stage.neurons)) {
      yield { ...chunk, ptr: this.#stage.nextArea().ptr };
    }
  }

  landChunk(): void | Promise<void> {
    this.#landed = this.#issued;
    return this.#slots.parts.reader.wait();
  }

  /** Counts the chunk that has landed last, of which each of `nTokens` names all records, and checks it. @throws {IntegrityError} As `RecordSlots.check`. */
  checkLanded(chunk: StreamChunk, nTokens: number, meter: TokenMeter): LandedChunk {
    const { area, units, runs } = this.#landed!;
    meter.counters.named += chunk.count * nTokens;
    meter.counters.misses += units.length;
    meter.counters.hits += (chunk.count - units.length) * nTokens;
    meter.counters.loaded += units.length;
    meter.countReads(runs);
    this.#slots.listInOrder(units.length);
    this.#slots.check(units.length, (i) => units[i]!, area.ptr, meter);
    return { area, units };
  }

  /** Copies what has been read to slots that are free. Those that the next chunk counts on stay where they are. */
  fillFree(read: Uint32Array, base: Ptr, meter: TokenMeter): void {
    const { cache, slotBytes } = this.#slots.parts;
    if (cache.numUsed === cache.slotCount) return;
    meter.enter("cache");
    const wave = cache.fill(read);
    let at = 0;
    for (const [i, unit] of wave.neurons.entries()) {
      while (read[at] !== unit) at++;
      this.#slots.adopt(base + at * slotBytes, wave.slots[i]!);
    }
    this.#slots.describeWave(wave);
  }

  /** A layer with a slot for every record, some of which are there: reads the others, and lists the slots of all in `workspace.slots`. */
  async readAbsent(ahead: StreamAhead, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { cache, all, kernels, workspace } = this.#slots.parts;
    meter.enter("cache");
    for (const wave of cache.admit(all)) {
      meter.counters.named += wave.neurons.length;
      meter.counters.hits += wave.hits.length;
      meter.counters.misses += wave.misses.length;
      meter.counters.loaded += wave.misses.length;
      if (wave.misses.length > 0) {
        meter.enter("readWait");
        await ahead.settle();
      }
      await this.#slots.readWave(wave, meter, signal);
    }
    const slots = kernels.arena.u32(workspace.slots, all.length);
    for (let unit = 0; unit < all.length; unit++) slots[unit] = cache.slotOf(unit);
    kernels.put(workspace.slots, 4 * all.length);
  }

  /** A layer that was streamed in place is resident: tells the cache so. Record i lies in slot i. */
  ownAll(): void {
    const { cache, all } = this.#slots.parts;
    const wave = cache.seed([all]);
    assert(
      wave.slots.every((slot, unit) => slot === unit),
      "an empty cache fills in order",
    );
    this.#slots.describeAll();
  }

  /** The records of a stretch that have no slot, and those between them that are rather read again than skipped. */
  #toRead(range: Uint32Array): Uint32Array {
    const { cache } = this.#slots;
    if (cache.numUsed === 0) return range;
    const read: number[] = [];
    let last = -1;
    for (const [i, unit] of range.entries()) {
      if (cache.slotOf(unit) >= 0) continue;
      if (last >= 0 && i - last - 1 <= this.#bridged) for (let j = last + 1; j < i; j++) read.push(range[j]!);
      read.push(unit);
      last = i;
    }
    return read.length === range.length ? range : Uint32Array.from(read);
  }
}
