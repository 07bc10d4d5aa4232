/**
 * The slots of one layer in DRAM for records of one kind, neurons or columns: records as they came from flash, and how they get there.
 *
 * The cache (dram-cache) decides which record has which slot and moves no bytes; this class executes what it decides: moves slot to slot, reads from
 * flash, checks. Every record is checked against its CRC-32C after it has landed and before it is used.
 */
import { IntegrityError } from "@flashwick/core";
import { MOST_STREAM_READ_BYTES } from "@flashwick/cost-model";
import type { CacheWave, NeuronCache } from "@flashwick/dram-cache";
import { type FlashReader, type FlashRun, planRuns, type RecordPlaces, type RunLimits } from "@flashwick/flash-io";
import type { Kernels, Ptr } from "@flashwick/kernels";
import { crcText } from "./crc-text.js";
import type { TokenMeter } from "./token-meter.js";
import type { Workspace } from "./workspace.js";

/** Longest single read of chosen records. */
export const MAX_READ_BYTES = 8 * 2 ** 20;

export interface RecordSlotsParts {
  readonly layer: number;
  /** What a record is of, for messages. */
  readonly unit: "neuron" | "input";
  readonly kernels: Kernels;
  readonly workspace: Workspace;
  readonly reader: FlashReader;
  readonly cache: NeuronCache;
  /** Arena pointer of slot 0. */
  readonly slotBase: Ptr;
  /** From one slot to the next; every byte of it has been read. */
  readonly slotBytes: number;
  /** Where records lie: one place, or one for each half of a split layout. */
  readonly places: readonly RecordPlaces[];
  /** Where checksums pass through, u32, as many as records are checked at once: nothing else uses it meanwhile. */
  readonly found: Ptr;
  /** Numbers of all records in order; may be shared by layers. */
  readonly all: Uint32Array;
  /** CRC-32C of each record's slot bytes. */
  readonly checksums: Uint32Array;
  /** Gaps that are read over. */
  readonly gap: Pick<RunLimits, "maxGapBytes" | "gapPtr">;
}

export class RecordSlots<Parts extends RecordSlotsParts = RecordSlotsParts> {
  readonly parts: Parts;
  readonly #limits: RunLimits;

  constructor(parts: Parts) {
    this.parts = parts;
    this.#limits = { maxReadBytes: MAX_READ_BYTES, ...parts.gap };
  }

  get cache(): NeuronCache {
    return this.parts.cache;
  }

  /** Arena pointer of a slot. */
  slotPtr(slot: number): Ptr {
    return this.parts.slotBase + slot * this.parts.slotBytes;
  }

  /** Reads that bring a wave's missing records to their slots; after the first runs with n picks in all, the first n misses are there. */
  planWave(wave: CacheWave): FlashRun[] {
    return this.planReads(wave.neurons, wave.slots, wave.misses);
  }

  /** Reads that bring records `units[i]` to slots `slots[i]`, for i in `picks`; all ascending but the slots, which may lie behind those of the cache. */
  planReads(units: Uint32Array, slots: Uint32Array, picks: Uint32Array): FlashRun[] {
    const runs: FlashRun[] = [];
    for (const places of this.parts.places) planRuns(places, units, slots, picks, this.#limits, runs);
    return runs;
  }

  /** Reads that bring records, ascending, to consecutive slots at `base`. */
  planInOrder(base: Ptr, units: Uint32Array): FlashRun[] {
    const { all, slotBase } = this.parts;
    const slots = all.subarray(0, units.length);
    const limits = { maxReadBytes: MOST_STREAM_READ_BYTES, maxGapBytes: 0, gapPtr: 0 };
    const runs: FlashRun[] = [];
    for (const places of this.parts.places) {
      planRuns({ ...places, slotBase: base + (places.slotBase - slotBase) }, units, slots, slots, limits, runs);
    }
    return runs;
  }

  /** Executes the slot copies that a wave asks for before its reads. */
  prepareWave(wave: CacheWave): void {
    const { kernels, slotBytes } = this.parts;
    for (let i = 0; i < wave.moves.length; i += 2) {
      this.#copySlot(this.slotPtr(wave.moves[i]!), wave.moves[i + 1]!);
      kernels.put(this.slotPtr(wave.moves[i + 1]!), slotBytes);
    }
    this.describeWave(wave);
  }

  /** Gives the slots that a wave fills or moves to what stands beside records in DRAM. Default: nothing does. */
  describeWave(_wave: CacheWave): void {}

  /** The same of every slot in use. */
  describeAll(): void {}

  /** Copies a record that lies at `from` into a slot that the cache has given it. */
  adopt(from: Ptr, slot: number): void {
    this.#copySlot(from, slot);
    this.parts.kernels.put(this.slotPtr(slot), this.parts.slotBytes);
  }

  #copySlot(from: Ptr, slot: number): void {
    const { kernels, slotBytes } = this.parts;
    kernels.arena.bytes.copyWithin(this.slotPtr(slot), from, from + slotBytes);
  }

  /** Writes slots 0 … count−1 to `workspace.slots`. */
  listInOrder(count: number): void {
    const { kernels, workspace } = this.parts;
    const slots = kernels.arena.u32(workspace.slots, count);
    for (let i = 0; i < count; i++) slots[i] = i;
    kernels.put(workspace.slots, 4 * count);
  }

  /**
   * Checks `count` records that lie in the slots listed in `workspace.slots` from entry `at` on, and brings them to where ops work.
   *
   * @param base Of slot 0.
   * @throws {IntegrityError} `INTEGRITY_RECORD` naming layer, record and offset.
   */
  check(count: number, unitOf: (index: number) => number, base: Ptr, meter: TokenMeter, at = 0): void {
    meter.enter("check");
    const { kernels, workspace, slotBytes, checksums, found: room } = this.parts;
    kernels.crc32cSlots(room, base, slotBytes, slotBytes, workspace.slots, at + count, at, at + count);
    const found = kernels.arena.u32(room, at + count);
    for (let i = 0; i < count; i++) {
      const unit = unitOf(i);
      if (found[at + i] !== checksums[unit]! >>> 0) throw this.#damaged(unit, found[at + i]!);
    }
    if (kernels.mirrored) this.#putSlots(base, kernels.arena.u32(workspace.slots + 4 * at, count));
    meter.enter("cache");
  }

  /** Executes a wave's moves and reads, waits for them, and checks what came. */
  async readWave(wave: CacheWave, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { kernels, workspace, reader, slotBase } = this.parts;
    this.prepareWave(wave);
    const runs = this.planWave(wave);
    if (runs.length === 0) return;
    meter.enter("readWait");
    meter.readsIssued();
    reader.start(kernels.arena.bytes, runs, signal);
    const pending = reader.wait();
    if (pending) await pending;
    meter.readsLanded();
    meter.countReads(runs);
    meter.enter("cache");
    const { misses } = wave;
    const slots = kernels.arena.u32(workspace.slots, misses.length);
    for (let i = 0; i < misses.length; i++) slots[i] = wave.slots[misses[i]!]!;
    this.check(misses.length, (i) => wave.neurons[misses[i]!]!, slotBase, meter);
  }

  /** Reads records `first` … in order to consecutive slots at `base`, aside of the cache, waits for them, and checks them. */
  async readStretch(base: Ptr, first: number, count: number, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { kernels, reader } = this.parts;
    meter.enter("readWait");
    const runs = this.planInOrder(base, this.parts.all.subarray(first, first + count));
    reader.start(kernels.arena.bytes, runs, signal);
    const pending = reader.wait();
    if (pending) await pending;
    meter.countReads(runs, true);
    this.listInOrder(count);
    this.check(count, (i) => first + i, base, meter);
  }

  /** Brings slots to where ops work, neighbours together. @param base Of slot 0. */
  #putSlots(base: Ptr, slots: Uint32Array): void {
    const { kernels, slotBytes } = this.parts;
    for (let begin = 0, end = 1; begin < slots.length; begin = end++) {
      while (end < slots.length && slots[end] === slots[end - 1]! + 1) end++;
      kernels.put(base + slots[begin]! * slotBytes, (end - begin) * slotBytes);
    }
  }

  #damaged(record: number, found: number): IntegrityError {
    const { unit, places, checksums, layer, reader } = this.parts;
    const expected = checksums[record]! >>> 0;
    const { fileOffset, strideBytes } = places[0]!;
    const offset = fileOffset + record * strideBytes;
    return new IntegrityError(
      "INTEGRITY_RECORD",
      `${reader.name} @ ${offset}: record of layer ${layer}, ${unit} ${record} has CRC-32C ${crcText(found)}, expected ` +
        `${crcText(expected)}; the file is damaged, fetch or convert it again`,
      { details: { layer, [unit]: record, offset, found, expected } },
    );
  }
}
