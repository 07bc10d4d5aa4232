/**
 * One layer's FFN neurons: on flash, in slots, and how they get from one to the other.
 *
 * Invariants. Sums run in ascending neuron order whatever is resident, and however the set is cut into waves, so the
 * result is the same bit for bit. Every record is checked against its CRC-32C when it arrives, before it is used. When
 * anything fails half-way the cache forgets all it holds: a slot never claims a neuron that did not arrive whole.
 */
import { type Activation, IntegrityError, type WeightLayout } from "@flashwick/core";
import type { CacheWave, NeuronCache } from "@flashwick/dram-cache";
import type { RecordTensor } from "@flashwick/flash-format";
import { type FlashReader, type FlashRun, planRuns, type RecordPlaces } from "@flashwick/flash-io";
import type { Kernels, Ptr, SlotMatrix } from "@flashwick/kernels";
import type { TokenMeter } from "./token-meter.js";
import type { Workspace } from "./workspace.js";

/** Longest single read of records. */
const MAX_READ_BYTES = 8 * 2 ** 20;

export interface FlashLayerParts {
  readonly layer: number;
  readonly kernels: Kernels;
  readonly workspace: Workspace;
  readonly reader: FlashReader;
  readonly records: RecordTensor;
  readonly weights: WeightLayout;
  readonly dModel: number;
  readonly dFf: number;
  readonly activation: Activation;
  readonly cache: NeuronCache;
  /** Arena pointer of slot 0. */
  readonly slotBase: Ptr;
  /** f32 `[slotCount]`: the paper's `bias`, up-projection bias of the neuron in each slot; 0 when the model has none. */
  readonly slotBias: Ptr;
  /** f32 `[dFf]`, all up-projection biases; 0 for none. */
  readonly upBias: Ptr;
  /** 0 … dFf − 1; shared by all layers. */
  readonly all: Uint32Array;
  /** CRC-32C of each neuron's slot bytes, `[dFf]`. */
  readonly checksums: Uint32Array;
}

/** Called for each stretch of neurons whose activations were computed for a batch, before the down projection. */
export type OnActivations = (layer: number, firstNeuron: number, count: number, act: Ptr, nTokens: number) => void;

export class FlashLayer {
  readonly parts: FlashLayerParts;
  readonly #matrix: SlotMatrix;
  readonly #places: readonly RecordPlaces[];

  constructor(parts: FlashLayerParts) {
    this.parts = parts;
    const { weights, slotBase, records } = parts;
    this.#matrix = {
      dtype: weights.dtype,
      base: slotBase,
      strideBytes: weights.slotBytes,
      downOffsetBytes: weights.downOffsetBytes,
      scalesOffsetBytes: weights.scalesOffsetBytes ?? 0,
      dModel: parts.dModel,
      bias: parts.slotBias,
    };
    const half = { strideBytes: weights.strideBytes, slotBytes: weights.slotBytes };
    this.#places =
      records.downOffset === null
        ? [{ ...half, fileOffset: records.offset, slotBase }]
        : [
            { ...half, fileOffset: records.offset, slotBase },
            { ...half, fileOffset: records.downOffset, slotBase: slotBase + weights.downOffsetBytes },
          ];
  }

  /**
   * out += Σ over `named` of relu(up · x + bias) · down, for one token, through the cache.
   *
   * @param out   f32 `[dModel]`.
   * @param named Ascending neurons.
   */
  async sparse(out: Ptr, x: Ptr, named: Uint32Array, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { kernels, workspace, cache, activation } = this.parts;
    try {
      const waves = cache.admit(named)[Symbol.iterator]();
      for (;;) {
        meter.enter("cache");
        const next = waves.next();
        if (next.done) break;
        await this.#settle(next.value, meter, signal);
        meter.enter("ffn");
        const n = next.value.slots.length;
        kernels.arena.u32(workspace.slots, n).set(next.value.slots);
        kernels.ffnUp(workspace.act, x, this.#matrix, workspace.slots, n, 1, activation, workspace.scratch);
        kernels.ffnDown(out, workspace.act, this.#matrix, workspace.slots, n, 1);
      }
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  /**
   * The same over all neurons, for a batch of tokens: the layer is streamed in order with large reads, or used in place
   * where all of it is resident. Afterwards the cache is empty (streamed) or holds everything.
   *
   * @param out           f32 `[nTokens, pad(dModel)]`, accumulated into.
   * @param onActivations May change activations in place, for instance mask them: a zero takes a neuron out.
   */
  async dense(
    out: Ptr,
    x: Ptr,
    nTokens: number,
    meter: TokenMeter,
    onActivations?: OnActivations,
    signal?: AbortSignal,
  ): Promise<void> {
    const { cache, dFf } = this.parts;
    if (cache.slotCount < dFf) {
      cache.clear();
      for (let first = 0; first < dFf; first += cache.slotCount) {
        const count = Math.min(cache.slotCount, dFf - first);
        meter.counters.named += count * nTokens;
        meter.counters.misses += count;
        await this.#stream(this.parts.slotBase, first, count, meter, signal);
        this.#compute(
          out,
          x,
          this.#streamMatrix(this.parts.slotBase, first),
          first,
          count,
          nTokens,
          meter,
          onActivations,
        );
      }
      return;
    }
    try {
      for (const wave of cache.admit(this.parts.all)) {
        await this.#settle(wave, meter, signal);
        this.parts.kernels.arena.u32(this.parts.workspace.slots, dFf).set(wave.slots);
        this.#compute(out, x, this.#matrix, 0, dFf, nTokens, meter, onActivations, false);
      }
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  /**
   * Fills the cache from the named sets of the last tokens, after the layer was streamed.
   *
   * @param sets Oldest first.
   */
  async seed(sets: readonly Uint32Array[], meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    if (this.parts.cache.slotCount >= this.parts.dFf) return;
    try {
      meter.enter("cache");
      await this.#settle(this.parts.cache.seed(sets), meter, signal, false);
    } catch (error) {
      this.parts.cache.clear();
      throw error;
    }
  }

  /**
   * The truly active neurons of one token, by reading and computing the whole layer aside of the cache.
   *
   * @param stage     Arena pointer of room for `stageSlots` neurons.
   * @returns How many were written to `out` (u32, ascending).
   */
  async trulyActive(
    out: Uint32Array,
    x: Ptr,
    stage: Ptr,
    stageSlots: number,
    meter: TokenMeter,
    signal?: AbortSignal,
  ): Promise<number> {
    const { kernels, workspace, dFf, activation } = this.parts;
    let found = 0;
    for (let first = 0; first < dFf; first += stageSlots) {
      const count = Math.min(stageSlots, dFf - first);
      await this.#stream(stage, first, count, meter, signal, true);
      this.#identity(count);
      const matrix = this.#streamMatrix(stage, first);
      kernels.ffnUp(workspace.act, x, matrix, workspace.slots, count, 1, activation, workspace.scratch);
      const act = kernels.arena.f32(workspace.act, count);
      for (let i = 0; i < count; i++) if (act[i]! > 0) out[found++] = first + i;
    }
    return found;
  }

  /**
   * ‖down_i‖₂ of every neuron, f64 `[dFf]`: how much a missed activation weighs. Streams the layer; the cache is empty
   * afterwards.
   */
  async downNorms(meter: TokenMeter, signal?: AbortSignal): Promise<Float64Array> {
    const { kernels, workspace, cache, dFf, dModel, weights, slotBase } = this.parts;
    const norms = new Float64Array(dFf);
    const row = kernels.arena.f32(workspace.blockOut, dModel);
    cache.clear();
    for (let first = 0; first < dFf; first += cache.slotCount) {
      const count = Math.min(cache.slotCount, dFf - first);
      await this.#stream(slotBase, first, count, meter, signal, true);
      for (let i = 0; i < count; i++) {
        const slot = slotBase + i * weights.slotBytes;
        const scales = weights.scalesOffsetBytes === null ? 0 : slot + weights.scalesOffsetBytes + 4;
        const down = { dtype: weights.dtype, data: slot + weights.downOffsetBytes, scales, rows: 1, cols: dModel };
        kernels.gatherRow(workspace.blockOut, down, 0);
        let sum = 0;
        for (let j = 0; j < dModel; j++) sum += row[j]! * row[j]!;
        norms[first + i] = Math.sqrt(sum);
      }
    }
    return norms;
  }

  #identity(count: number): void {
    const slots = this.parts.kernels.arena.u32(this.parts.workspace.slots, count);
    for (let i = 0; i < count; i++) slots[i] = i;
  }

  #compute(
    out: Ptr,
    x: Ptr,
    matrix: SlotMatrix,
    first: number,
    count: number,
    nTokens: number,
    meter: TokenMeter,
    onActivations: OnActivations | undefined,
    identity = true,
  ): void {
    const { kernels, workspace, activation, layer } = this.parts;
    meter.enter("ffn");
    if (identity) this.#identity(count);
    const { act, slots, scratch } = workspace;
    kernels.ffnUp(act, x, matrix, slots, count, nTokens, activation, scratch);
    onActivations?.(layer, first, count, act, nTokens);
    kernels.ffnDown(out, act, matrix, slots, count, nTokens);
  }

  /** Slots 0 … n−1 hold neurons `first` …, so their biases stand in order in `upBias`. */
  #streamMatrix(base: Ptr, first: number): SlotMatrix {
    const { upBias } = this.parts;
    return { ...this.#matrix, base, bias: upBias === 0 ? 0 : upBias + 4 * first };
  }

  /** Reads neurons `first` … in order to consecutive slots at `base`. */
  async #stream(base: Ptr, first: number, count: number, meter: TokenMeter, signal?: AbortSignal, aside = false) {
    const { weights, kernels, reader } = this.parts;
    meter.enter("readWait");
    const neurons = this.parts.all.subarray(first, first + count);
    const slots = this.parts.all.subarray(0, count);
    const runs: FlashRun[] = [];
    for (const places of this.#places) {
      const slotBase = base + (places.slotBase - this.parts.slotBase);
      planRuns({ ...places, slotBase }, neurons, slots, slots, MAX_READ_BYTES, runs);
    }
    reader.start(kernels.arena.bytes, runs, signal);
    const pending = reader.wait();
    if (pending) await pending;
    meter.countReads(runs, aside);
    for (let i = 0; i < count; i++) this.#check(first + i, base + i * weights.slotBytes);
  }

  /** Executes a wave's plan: moves, loads, biases, checks. */
  async #settle(wave: CacheWave, meter: TokenMeter, signal?: AbortSignal, counted = true): Promise<void> {
    const { kernels, reader, weights, slotBase, slotBias, upBias } = this.parts;
    const { arena } = kernels;
    const { slotBytes } = weights;
    const bias = slotBias === 0 ? null : arena.f32(slotBias, this.parts.cache.slotCount);
    for (let i = 0; i < wave.moves.length; i += 2) {
      const from = wave.moves[i]!;
      const to = wave.moves[i + 1]!;
      arena.bytes.copyWithin(slotBase + to * slotBytes, slotBase + from * slotBytes, slotBase + (from + 1) * slotBytes);
      if (bias) bias[to] = bias[from]!;
    }
    if (counted) {
      meter.counters.named += wave.neurons.length;
      meter.counters.hits += wave.hits.length;
      meter.counters.misses += wave.misses.length;
    }
    if (wave.misses.length === 0) return;
    const runs: FlashRun[] = [];
    for (const places of this.#places) {
      planRuns(places, wave.neurons, wave.slots, wave.misses, MAX_READ_BYTES, runs);
    }
    meter.enter("readWait");
    reader.start(arena.bytes, runs, signal);
    const pending = reader.wait();
    if (pending) await pending;
    meter.countReads(runs);
    meter.enter("cache");
    const upBiases = upBias === 0 ? null : arena.f32(upBias, this.parts.dFf);
    for (const miss of wave.misses) {
      const neuron = wave.neurons[miss]!;
      const slot = wave.slots[miss]!;
      this.#check(neuron, slotBase + slot * slotBytes);
      if (bias && upBiases) bias[slot] = upBiases[neuron]!;
    }
  }

  #check(neuron: number, ptr: Ptr): void {
    const { kernels, weights, checksums, records, layer, reader } = this.parts;
    const found = kernels.crc32c(ptr, weights.slotBytes) >>> 0;
    const expected = checksums[neuron]! >>> 0;
    if (found === expected) return;
    const offset = records.offset + neuron * weights.strideBytes;
    throw new IntegrityError(
      "INTEGRITY_RECORD",
      `${reader.name} @ ${offset}: record of layer ${layer}, neuron ${neuron} has CRC-32C ${hex(found)}, expected ` +
        `${hex(expected)}; the file is damaged, fetch or convert it again`,
      { details: { layer, neuron, offset, found, expected } },
    );
  }
}

const hex = (value: number) => value.toString(16).padStart(8, "0");
