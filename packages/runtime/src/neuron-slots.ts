/**
 * The slots of one layer in DRAM: neuron records as they came from flash, and how they get there.
 *
 * The cache (dram-cache) decides which neuron has which slot and moves no bytes; this class executes what it decides: moves slot to slot,
 * reads from flash, checks, and biases, which come from DRAM.
 *
 * Invariants. A slot's biases are those of `cache.pointer[slot]`. Every record is checked against its CRC-32C after it has landed and before it
 * is used.
 */
import { IntegrityError, recordPart, type WeightLayout } from "@flashwick/core";
import { MOST_STREAM_READ_BYTES } from "@flashwick/cost-model";
import type { CacheWave, NeuronCache } from "@flashwick/dram-cache";
import type { RecordTensor } from "@flashwick/flash-format";
import { type FlashReader, type FlashRun, planRuns, type RecordPlaces, type RunLimits } from "@flashwick/flash-io";
import { gateRowOf, type Kernels, type Ptr, type SlotMatrix } from "@flashwick/kernels";
import { crcText } from "./crc-text.js";
import type { StageArea } from "./layer-stream.js";
import type { ResidentGate } from "./resident-gate.js";
import type { TokenMeter } from "./token-meter.js";
import type { Workspace } from "./workspace.js";

/** Longest single read of chosen records. */
export const MAX_READ_BYTES = 8 * 2 ** 20;

/** Biases of a layer's neurons. */
export interface NeuronBias {
  /** f32 `[dFf]`, by neuron. */
  readonly all: Ptr;
  /** f32 `[slotCount]`: the paper's `bias`, that of the neuron in each slot. */
  readonly slots: Ptr;
}

export interface NeuronSlotsParts {
  readonly layer: number;
  readonly kernels: Kernels;
  readonly workspace: Workspace;
  readonly reader: FlashReader;
  readonly records: RecordTensor;
  readonly weights: WeightLayout;
  readonly dModel: number;
  readonly dFf: number;
  readonly cache: NeuronCache;
  /** Arena pointer of slot 0. */
  readonly slotBase: Ptr;
  /** Of the up projection, and of the gate; null where the layer has none, and of gates that are resident. */
  readonly biases: { readonly up: NeuronBias | null; readonly gate: NeuronBias | null };
  /** Null where neurons have none, or have it in their records. */
  readonly gate: ResidentGate | null;
  /** 0 … dFf − 1; shared by all layers. */
  readonly all: Uint32Array;
  /** CRC-32C of each neuron's slot bytes, `[dFf]`. */
  readonly checksums: Uint32Array;
  /** Gaps that are read over. */
  readonly gap: Pick<RunLimits, "maxGapBytes" | "gapPtr">;
}

export class NeuronSlots {
  readonly parts: NeuronSlotsParts;
  readonly matrix: SlotMatrix;
  /** Where records lie: one place, or one for each half of a split layout. */
  readonly places: readonly RecordPlaces[];
  readonly #limits: RunLimits;
  readonly #biases: readonly NeuronBias[];

  constructor(parts: NeuronSlotsParts) {
    this.parts = parts;
    const { weights, slotBase, records, biases } = parts;
    this.#biases = [biases.up, biases.gate].filter((bias) => bias !== null);
    const gate = weights.parts.find(({ role }) => role === "gate");
    this.matrix = {
      dtype: weights.dtype,
      base: slotBase,
      strideBytes: weights.slotBytes,
      upOffsetBytes: recordPart(weights, "up").offsetBytes,
      downOffsetBytes: recordPart(weights, "down").offsetBytes,
      scalesOffsetBytes: weights.parts[0]!.scaleOffsetBytes ?? 0,
      dModel: parts.dModel,
      bias: biases.up?.slots ?? 0,
      gate: gate ? { offsetBytes: gate.offsetBytes, bias: biases.gate?.slots ?? 0 } : parts.gate && "given",
    };
    const half = { strideBytes: weights.strideBytes, slotBytes: weights.slotBytes };
    const first = { ...half, fileOffset: records.offset, slotBase };
    const { downOffset } = records;
    this.places =
      downOffset === null
        ? [first]
        : [first, { ...half, fileOffset: downOffset, slotBase: slotBase + weights.strideBytes }];
    this.#limits = { maxReadBytes: MAX_READ_BYTES, ...parts.gap };
  }

  get cache(): NeuronCache {
    return this.parts.cache;
  }

  /** Arena pointer of a slot. */
  slotPtr(slot: number): Ptr {
    return this.parts.slotBase + slot * this.parts.weights.slotBytes;
  }

  /** The matrix of slots 0 … n−1 at `base` when they hold neurons `first` … in order, so that their biases are those of all neurons from there on. */
  orderedMatrix(base: Ptr, first: number): SlotMatrix {
    const { up, gate } = this.parts.biases;
    return this.#matrixAt(base, up ? up.all + 4 * first : 0, gate ? gate.all + 4 * first : 0);
  }

  /** The matrix of the slots of `area`, which hold `neurons` in order; their biases are brought there. */
  stagedMatrix(area: StageArea, neurons: Uint32Array): SlotMatrix {
    const { up, gate } = this.parts.biases;
    if (up) this.#gatherBiases(up, area.upBias, neurons);
    if (gate) this.#gatherBiases(gate, area.gateBias, neurons);
    return this.#matrixAt(area.ptr, up ? area.upBias : 0, gate ? area.gateBias : 0);
  }

  #matrixAt(base: Ptr, upBias: Ptr, gateBias: Ptr): SlotMatrix {
    const row = gateRowOf(this.matrix);
    return { ...this.matrix, base, bias: upBias, gate: row ? { ...row, bias: gateBias } : this.matrix.gate };
  }

  /** Reads that bring a wave's missing neurons to their slots; after the first runs with n picks in all, the first n misses are there. */
  planWave(wave: CacheWave): FlashRun[] {
    const runs: FlashRun[] = [];
    for (const places of this.places) planRuns(places, wave.neurons, wave.slots, wave.misses, this.#limits, runs);
    return runs;
  }

  /** Reads that bring neurons, ascending, to consecutive slots at `base`. */
  planInOrder(base: Ptr, neurons: Uint32Array): FlashRun[] {
    const { all, slotBase } = this.parts;
    const slots = all.subarray(0, neurons.length);
    const limits = { maxReadBytes: MOST_STREAM_READ_BYTES, maxGapBytes: 0, gapPtr: 0 };
    const runs: FlashRun[] = [];
    for (const places of this.places) {
      planRuns({ ...places, slotBase: base + (places.slotBase - slotBase) }, neurons, slots, slots, limits, runs);
    }
    return runs;
  }

  /** Executes the slot copies that a wave asks for before its reads, and gives the slots that it fills their biases. */
  prepareWave(wave: CacheWave): void {
    const { kernels, weights } = this.parts;
    const { slotBytes } = weights;
    for (let i = 0; i < wave.moves.length; i += 2) {
      this.#copySlot(this.slotPtr(wave.moves[i]!), wave.moves[i + 1]!);
      kernels.put(this.slotPtr(wave.moves[i + 1]!), slotBytes);
    }
    this.setBiases(wave);
  }

  /** Gives the slots that a wave fills or moves to the biases of their neurons. */
  setBiases(wave: CacheWave): void {
    const { kernels } = this.parts;
    if (wave.moves.length + wave.misses.length === 0) return;
    const { pointer } = this.cache;
    for (const bias of this.#biases) {
      const { slots, all } = this.#biasViews(bias);
      for (let i = 1; i < wave.moves.length; i += 2) slots[wave.moves[i]!] = all[pointer[wave.moves[i]!]!]!;
      for (let i = 0; i < wave.misses.length; i++) {
        const miss = wave.misses[i]!;
        slots[wave.slots[miss]!] = all[wave.neurons[miss]!]!;
      }
      kernels.put(bias.slots, 4 * this.cache.slotCount);
    }
  }

  /** Copies a record that lies at `from` into a slot that the cache has given it. */
  adopt(from: Ptr, slot: number): void {
    this.#copySlot(from, slot);
    this.parts.kernels.put(this.slotPtr(slot), this.parts.weights.slotBytes);
  }

  /** Gives every slot in use the biases of its neuron. */
  setAllBiases(): void {
    const { pointer, numUsed, slotCount } = this.cache;
    for (const bias of this.#biases) {
      const { slots, all } = this.#biasViews(bias);
      for (let slot = 0; slot < numUsed; slot++) slots[slot] = all[pointer[slot]!]!;
      this.parts.kernels.put(bias.slots, 4 * slotCount);
    }
  }

  #copySlot(from: Ptr, slot: number): void {
    const { kernels, weights } = this.parts;
    kernels.arena.bytes.copyWithin(this.slotPtr(slot), from, from + weights.slotBytes);
  }

  #biasViews({ slots, all }: NeuronBias): { readonly slots: Float32Array; readonly all: Float32Array } {
    const { arena } = this.parts.kernels;
    return { slots: arena.f32(slots, this.cache.slotCount), all: arena.f32(all, this.parts.dFf) };
  }

  /** The biases of neurons in order, at `out`. */
  #gatherBiases(bias: NeuronBias, out: Ptr, neurons: Uint32Array): void {
    const { kernels } = this.parts;
    const biases = kernels.arena.f32(out, neurons.length);
    const { all } = this.#biasViews(bias);
    for (let i = 0; i < neurons.length; i++) biases[i] = all[neurons[i]!]!;
    kernels.put(out, 4 * neurons.length);
  }

  /** Writes slots 0 … count−1 to `workspace.slots`. */
  listInOrder(count: number): void {
    const { kernels, workspace } = this.parts;
    const slots = kernels.arena.u32(workspace.slots, count);
    for (let i = 0; i < count; i++) slots[i] = i;
    kernels.put(workspace.slots, 4 * count);
  }

  /**
   * Checks `count` records that lie in the slots listed in `workspace.slots` from entry `at` on, and brings them to where ops work. Their
   * checksums pass through `workspace.act`, which nothing else uses yet for these neurons.
   *
   * @param base Of slot 0.
   * @throws {IntegrityError} `INTEGRITY_RECORD` naming layer, neuron and offset.
   */
  check(count: number, neuronOf: (index: number) => number, base: Ptr, meter: TokenMeter, at = 0): void {
    meter.enter("check");
    const { kernels, workspace, weights, checksums } = this.parts;
    const { slotBytes } = weights;
    kernels.crc32cSlots(workspace.act, base, slotBytes, slotBytes, workspace.slots, at + count, at, at + count);
    const found = kernels.arena.u32(workspace.act, at + count);
    for (let i = 0; i < count; i++) {
      const neuron = neuronOf(i);
      if (found[at + i] !== checksums[neuron]! >>> 0) throw this.#damaged(neuron, found[at + i]!);
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

  /** Reads neurons `first` … in order to consecutive slots at `base`, aside of the cache, waits for them, and checks them. */
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
    const { kernels, weights } = this.parts;
    const { slotBytes } = weights;
    for (let begin = 0, end = 1; begin < slots.length; begin = end++) {
      while (end < slots.length && slots[end] === slots[end - 1]! + 1) end++;
      kernels.put(base + slots[begin]! * slotBytes, (end - begin) * slotBytes);
    }
  }

  #damaged(neuron: number, found: number): IntegrityError {
    const { weights, checksums, records, layer, reader } = this.parts;
    const expected = checksums[neuron]! >>> 0;
    const offset = records.offset + neuron * weights.strideBytes;
    return new IntegrityError(
      "INTEGRITY_RECORD",
      `${reader.name} @ ${offset}: record of layer ${layer}, neuron ${neuron} has CRC-32C ${crcText(found)}, expected ` +
        `${crcText(expected)}; the file is damaged, fetch or convert it again`,
      { details: { layer, neuron, offset, found, expected } },
    );
  }
}
