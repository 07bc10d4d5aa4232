/**
 * One layer's FFN neurons: on flash, in slots, and how they get from one to the other.
 *
 * Invariants. Sums run in ascending neuron order whatever is resident, and however the set is cut into waves, so the
 * result is the same bit for bit. Every record is checked against its CRC-32C when it arrives, before it is used. When
 * anything fails half-way the cache forgets all it holds: a slot never claims a neuron that did not arrive whole.
 *
 * What overlaps. A neuron's activation depends on no other neuron, so resident neurons are multiplied while the missing
 * ones fly, and these as they land; only the sum over all of them, whose order is fixed, waits for the last. Between `admit` and
 * `compute` the caller may compute something else: attention, in a parallel block.
 */
import { type Activation, assert, IntegrityError, paddedLength, type WeightLayout } from "@flashwick/core";
import type { CacheWave, NeuronCache } from "@flashwick/dram-cache";
import type { RecordTensor } from "@flashwick/flash-format";
import { type FlashReader, type FlashRun, planRuns, type RecordPlaces, type RunLimits } from "@flashwick/flash-io";
import type { Kernels, Ptr, SlotMatrix } from "@flashwick/kernels";
import { planStream, type StreamAhead, type StreamChunk, type StreamedLayer, type StreamPlan } from "./layer-stream.js";
import type { TokenMeter } from "./token-meter.js";
import type { Workspace } from "./workspace.js";

/** Longest single read of chosen records. */
export const MAX_READ_BYTES = 8 * 2 ** 20;
/** Longest single read of a stream: enough for the device's bandwidth, and short enough that several readers share a chunk. */
const STREAM_READ_BYTES = 2 ** 20;
/** Landed neurons are computed in so many groups, of at least so many neurons. */
const LANDING_GROUPS = 4;
const LEAST_GROUP_NEURONS = 32;
/** Of the slots, what guesses may take: a guess must not push out what it takes for granted. */
const MOST_ANTICIPATED_SHARE = 1 / 2;

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
  /** f32 `[dFf]` of scratch outside the arena; shared by all layers. */
  readonly reordered: Float32Array;
  /** Gaps that are read over. */
  readonly gap: Pick<RunLimits, "maxGapBytes" | "gapPtr">;
  /** False: every read is waited for before anything is computed. */
  readonly overlap: boolean;
}

/** Called for each stretch of neurons whose activations were computed for a batch, before the down projection. */
export type OnActivations = (layer: number, firstNeuron: number, count: number, act: Ptr, nTokens: number) => void;

/** Neurons that were read before they were named. */
interface Anticipated {
  readonly neurons: Uint32Array;
  readonly runs: readonly FlashRun[];
}

/** A wave whose missing neurons are on their way. */
interface FlyingWave {
  readonly wave: CacheWave;
  readonly runs: readonly FlashRun[];
}

/** What a token names, in waves, of which the first flies. */
interface AdmittedToken {
  readonly waves: Iterator<CacheWave>;
  readonly first: FlyingWave;
}

/** Neurons that stay when a layer is streamed, and how many of them have passed. */
interface KeptNeurons {
  readonly wave: CacheWave;
  next: number;
}

export class FlashLayer implements StreamedLayer {
  readonly parts: FlashLayerParts;
  readonly #matrix: SlotMatrix;
  readonly #places: readonly RecordPlaces[];
  readonly #stream: StreamPlan;
  readonly #limits: RunLimits;
  /** What the chunk in flight, and the one that landed last, are read with. */
  #chunkRuns: readonly FlashRun[] = [];
  #landedRuns: readonly FlashRun[] = [];
  /** Neurons on their way, or just arrived, that the next token will probably name; null if none. */
  #anticipated: Anticipated | null = null;
  /** Between `admit` and `compute`. */
  #admitted: AdmittedToken | null = null;

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
    this.#stream = planStream(parts.dFf, parts.cache.slotCount, weights.slotBytes);
    this.#limits = { maxReadBytes: MAX_READ_BYTES, ...parts.gap };
  }

  /**
   * Begins to read what `guess` names and the cache lacks, and returns at once; the next `admit` waits for it. A wrong guess
   * costs reads and slots, never a result.
   *
   * @param guess Ascending neurons.
   */
  anticipate(guess: Uint32Array, meter: TokenMeter, signal?: AbortSignal): void {
    const { cache, kernels, reader, slotBias, upBias, dFf } = this.parts;
    meter.enter("cache");
    const wave = cache.anticipate(guess, Math.floor(cache.slotCount * MOST_ANTICIPATED_SHARE));
    if (wave.neurons.length === 0) return;
    const runs = this.#planWave(wave);
    this.#anticipated = { neurons: wave.neurons.slice(), runs };
    if (slotBias !== 0) {
      const bias = kernels.arena.f32(slotBias, cache.slotCount);
      const upBiases = kernels.arena.f32(upBias, dFf);
      for (const [i, neuron] of wave.neurons.entries()) bias[wave.slots[i]!] = upBiases[neuron]!;
      this.#putSlotBias();
    }
    meter.takeOff();
    reader.start(kernels.arena.bytes, runs, signal);
  }

  /** After a failure elsewhere, when nothing is in flight: forgets what was anticipated or admitted, with all else. */
  abandon(): void {
    if (!this.#anticipated && !this.#admitted) return;
    this.#anticipated = null;
    this.#admitted = null;
    this.parts.cache.clear();
  }

  /**
   * Takes in what a token names: the cache makes room, and the missing neurons of the first wave begin to fly. `compute` must follow; anything
   * that uses neither this layer nor the reader may come between.
   *
   * @param named Ascending neurons; unchanged until `compute` is done.
   */
  async admit(named: Uint32Array, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { cache } = this.parts;
    try {
      await this.#landAnticipated(meter);
      meter.enter("cache");
      const waves = cache.admit(named)[Symbol.iterator]();
      const first = waves.next();
      assert(!first.done, "a token has a wave, however little it names");
      this.#admitted = { waves, first: this.#takeOff(first.value, meter, signal) };
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  /**
   * out += Σ over the admitted neurons of relu(up · x + bias) · down, for one token.
   *
   * @param out f32 `[dModel]`.
   */
  async compute(out: Ptr, x: Ptr, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { kernels, workspace, cache } = this.parts;
    assert(this.#admitted, "a token is admitted before it is computed");
    const { waves, first } = this.#admitted;
    this.#admitted = null;
    try {
      let flying: FlyingWave | null = first;
      while (flying) {
        await this.#activate(flying, x, meter);
        meter.enter("ffn");
        kernels.ffnDown(out, workspace.act, this.#matrix, workspace.slots, flying.wave.slots.length, 1);
        meter.enter("cache");
        const next = waves.next();
        flying = next.done ? null : this.#takeOff(next.value, meter, signal);
      }
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  /**
   * The same over all neurons, for a batch of tokens: the layer is streamed in order with large reads, or used in place
   * where all of it is resident. Afterwards the cache holds everything, where that fits, or else what `keep` names.
   *
   * @param out           f32 `[nTokens, pad(dModel)]`, accumulated into.
   * @param onActivations May change activations in place, for instance mask them: a zero takes a neuron out.
   * @param keep          Named sets of the last tokens, oldest first: what decoding will want next.
   */
  async dense(
    out: Ptr,
    x: Ptr,
    nTokens: number,
    ahead: StreamAhead,
    meter: TokenMeter,
    onActivations?: OnActivations,
    keep: readonly Uint32Array[] = [],
    signal?: AbortSignal,
  ): Promise<void> {
    const { cache, dFf, workspace, kernels } = this.parts;
    const chunks = this.streamChunks();
    try {
      if (chunks.length === 0) {
        await this.#fillGaps(ahead, meter, signal);
        const slots = kernels.arena.u32(workspace.slots, dFf);
        for (let neuron = 0; neuron < dFf; neuron++) slots[neuron] = cache.slotOf(neuron);
        kernels.put(workspace.slots, 4 * dFf);
        await this.#compute(out, x, this.#matrix, 0, dFf, nTokens, meter, onActivations);
        return;
      }
      let kept: KeptNeurons | null = null;
      for (const [index, chunk] of chunks.entries()) {
        meter.enter("readWait");
        await ahead.take(this, chunks, index, signal);
        meter.enter("cache");
        // Not before the first chunk is taken: starting it empties the cache.
        if (index === 0) kept = this.#planKept(keep);
        const base = this.parts.slotBase + chunk.slot * this.parts.weights.slotBytes;
        this.#countChunk(chunk, nTokens, meter);
        this.#identity(chunk.count);
        this.#check(chunk.count, (i) => chunk.first + i, base, meter);
        if (kept) this.#keep(kept, chunk, base);
        await this.#compute(
          out,
          x,
          this.#streamMatrix(base, chunk.first),
          chunk.first,
          chunk.count,
          nTokens,
          meter,
          onActivations,
        );
      }
      if (this.#stream.keptSlots === dFf) this.#own();
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  /**
   * Fills the cache from the named sets of the last tokens by reading them, where `dense` could not keep them.
   *
   * @param sets Oldest first.
   */
  async seed(sets: readonly Uint32Array[], ahead: StreamAhead, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    if (this.#stream.keptSlots > 0) return;
    try {
      meter.enter("readWait");
      await ahead.settle();
      meter.enter("cache");
      await this.#read(this.parts.cache.seed(sets), meter, signal);
    } catch (error) {
      this.parts.cache.clear();
      throw error;
    }
  }

  streamChunks(): readonly StreamChunk[] {
    const { cache, dFf } = this.parts;
    return cache.slotCount >= dFf && cache.numUsed > 0 ? [] : this.#stream.chunks;
  }

  startChunk(chunk: StreamChunk, signal?: AbortSignal): void {
    const { cache, slotBase, weights } = this.parts;
    // The slots are about to be overwritten; those below the streamed ones are given up with them.
    if (cache.slotCount < this.parts.dFf && chunk.first === 0) cache.clear();
    this.#chunkRuns = this.#planStretch(slotBase + chunk.slot * weights.slotBytes, chunk.first, chunk.count);
    this.parts.reader.start(this.parts.kernels.arena.bytes, this.#chunkRuns, signal);
  }

  landChunk(): void | Promise<void> {
    this.#landedRuns = this.#chunkRuns;
    return this.parts.reader.wait();
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
      await this.#readStretch(stage, first, count, meter, signal);
      const matrix = this.#streamMatrix(stage, first);
      kernels.ffnUp(workspace.act, x, matrix, workspace.slots, count, 1, activation, workspace.scratch);
      const pending = kernels.take(workspace.act, 4 * count);
      if (pending) await pending;
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
      await this.#readStretch(slotBase, first, count, meter, signal);
      for (let i = 0; i < count; i++) {
        const slot = slotBase + i * weights.slotBytes;
        const scales = weights.scalesOffsetBytes === null ? 0 : slot + weights.scalesOffsetBytes + 4;
        const down = { dtype: weights.dtype, data: slot + weights.downOffsetBytes, scales, rows: 1, cols: dModel };
        kernels.gatherRow(workspace.blockOut, down, 0);
        const pending = kernels.take(workspace.blockOut, 4 * dModel);
        if (pending) await pending;
        let sum = 0;
        for (let j = 0; j < dModel; j++) sum += row[j]! * row[j]!;
        norms[first + i] = Math.sqrt(sum);
      }
    }
    return norms;
  }

  #identity(count: number): void {
    const { kernels, workspace } = this.parts;
    const slots = kernels.arena.u32(workspace.slots, count);
    for (let i = 0; i < count; i++) slots[i] = i;
    kernels.put(workspace.slots, 4 * count);
  }

  /** Activations of neurons in `workspace.slots`, then their sum. */
  async #compute(
    out: Ptr,
    x: Ptr,
    matrix: SlotMatrix,
    first: number,
    count: number,
    nTokens: number,
    meter: TokenMeter,
    onActivations: OnActivations | undefined,
  ): Promise<void> {
    const { kernels, workspace, activation, layer } = this.parts;
    meter.enter("ffn");
    const { act, slots, scratch } = workspace;
    kernels.ffnUp(act, x, matrix, slots, count, nTokens, activation, scratch);
    if (onActivations) {
      const bytes = 4 * nTokens * paddedLength(count);
      const pending = kernels.take(act, bytes);
      if (pending) await pending;
      onActivations(layer, first, count, act, nTokens);
      kernels.put(act, bytes);
    }
    kernels.ffnDown(out, act, matrix, slots, count, nTokens);
  }

  /** Executes a wave's moves and begins its reads. */
  #takeOff(wave: CacheWave, meter: TokenMeter, signal?: AbortSignal): FlyingWave {
    const { kernels, reader } = this.parts;
    this.#move(wave);
    this.#countWave(wave, meter);
    const runs = this.#planWave(wave);
    if (runs.length > 0) {
      // A reader without threads reads here and now.
      meter.enter("readWait");
      meter.takeOff();
      reader.start(kernels.arena.bytes, runs, signal);
    }
    return { wave, runs };
  }

  /**
   * Executes a flying wave up to its activations, which end up in `workspace.act` in ascending neuron order, with the slots in
   * `workspace.slots`.
   */
  async #activate({ wave, runs }: FlyingWave, x: Ptr, meter: TokenMeter): Promise<void> {
    const { kernels, workspace, activation, reader } = this.parts;
    // A device multiplies a layer's neurons in the time that one more submission takes: it has them all at once.
    const overlap = this.parts.overlap && !kernels.mirrored;
    const n = wave.neurons.length;
    const anticipated = this.#anticipated;
    this.#anticipated = null;
    meter.enter("cache");
    if (anticipated) this.#arriveAnticipated(anticipated.neurons, meter);
    // In order of arrival: what is there already, then the missing ones.
    const slots = kernels.arena.u32(workspace.slots, n);
    const hits = wave.hits.length;
    for (let i = 0; i < hits; i++) slots[i] = wave.slots[wave.hits[i]!]!;
    for (let i = hits; i < n; i++) slots[i] = wave.slots[wave.misses[i - hits]!]!;
    const up = (begin: number, end: number) => {
      meter.enter("ffn");
      kernels.ffnUp(workspace.act, x, this.#matrix, workspace.slots, n, 1, activation, workspace.scratch, begin, end);
    };
    if (overlap) up(0, hits);
    // What was recorded before, attention in a parallel block, need not wait for flash.
    kernels.submit();
    let landed = 0;
    for (const { runCount, picks } of this.#landingGroups(runs, n - hits)) {
      meter.enter("readWait");
      const pending = reader.wait(runCount);
      if (pending) await pending;
      if (runCount === runs.length) meter.land();
      meter.enter("cache");
      this.#arrive(wave, landed, picks, hits, meter);
      if (overlap) up(hits + landed, hits + picks);
      landed = picks;
    }
    meter.countReads(runs);
    if (overlap && hits > 0 && hits < n) this.#ascend(wave);
    if (overlap) return;
    slots.set(wave.slots);
    kernels.put(workspace.slots, 4 * n);
    up(0, n);
  }

  /** Waits for what was anticipated: a reader does one batch at a time. */
  async #landAnticipated(meter: TokenMeter): Promise<void> {
    if (!this.#anticipated) return;
    meter.enter("readWait");
    const { runs } = this.#anticipated;
    try {
      const pending = this.parts.reader.wait();
      if (pending) await pending;
    } catch (error) {
      this.#anticipated = null;
      throw error;
    }
    meter.land();
    meter.countReads(runs);
  }

  /**
   * Checks what was anticipated and still has a slot, wherever it has been moved to. Of what the token names, the first wave has
   * made hits: they are counted as what they are, neurons that had to be read.
   */
  #arriveAnticipated(neurons: Uint32Array, meter: TokenMeter): void {
    const { kernels, workspace, cache, slotBase } = this.parts;
    const held = neurons.filter((neuron) => cache.slotOf(neuron) >= 0);
    const slots = kernels.arena.u32(workspace.slots, held.length);
    for (let i = 0; i < held.length; i++) slots[i] = cache.slotOf(held[i]!);
    this.#check(held.length, (i) => held[i]!, slotBase, meter);
    const used = held.filter((neuron) => cache.lastKActive[cache.slotOf(neuron)]! > 0).length;
    meter.counters.loaded += neurons.length;
    meter.counters.hits -= used;
    meter.counters.misses += used;
  }

  /** From the order of arrival to that of neurons. */
  #ascend(wave: CacheWave): void {
    const { kernels, workspace, reordered } = this.parts;
    const n = wave.neurons.length;
    const hits = wave.hits.length;
    const act = kernels.arena.f32(workspace.act, n);
    for (let i = 0; i < hits; i++) reordered[wave.hits[i]!] = act[i]!;
    for (let i = hits; i < n; i++) reordered[wave.misses[i - hits]!] = act[i]!;
    act.set(reordered.subarray(0, n));
    kernels.arena.u32(workspace.slots, n).set(wave.slots);
  }

  /** After how many runs to look, and how many misses are there then. Split halves arrive one after the other: one group. */
  #landingGroups(runs: readonly FlashRun[], misses: number): { readonly runCount: number; readonly picks: number }[] {
    if (runs.length === 0) return [];
    if (!this.parts.overlap || this.#places.length > 1) return [{ runCount: runs.length, picks: misses }];
    const least = Math.max(LEAST_GROUP_NEURONS, Math.ceil(misses / LANDING_GROUPS));
    const groups: { readonly runCount: number; readonly picks: number }[] = [];
    let picks = 0;
    let before = 0;
    for (const [index, run] of runs.entries()) {
      picks += run.picks;
      if (picks - before < least && index + 1 < runs.length) continue;
      groups.push({ runCount: index + 1, picks });
      before = picks;
    }
    return groups;
  }

  /** Misses [begin, end) of a wave are in their slots, and these stand in `workspace.slots` behind the hits: checks them, sets their biases. */
  #arrive(wave: CacheWave, begin: number, end: number, hits: number, meter: TokenMeter): void {
    const { kernels, slotBase, slotBias, upBias, cache, dFf } = this.parts;
    this.#check(end - begin, (i) => wave.neurons[wave.misses[begin + i]!]!, slotBase, meter, hits + begin);
    if (slotBias === 0) return;
    const bias = kernels.arena.f32(slotBias, cache.slotCount);
    const upBiases = kernels.arena.f32(upBias, dFf);
    for (let i = begin; i < end; i++) bias[wave.slots[wave.misses[i]!]!] = upBiases[wave.neurons[wave.misses[i]!]!]!;
    this.#putSlotBias();
  }

  /** Slots 0 … n−1 hold neurons `first` …, so their biases stand in order in `upBias`. */
  #streamMatrix(base: Ptr, first: number): SlotMatrix {
    const { upBias } = this.parts;
    return { ...this.#matrix, base, bias: upBias === 0 ? 0 : upBias + 4 * first };
  }

  #planStretch(base: Ptr, first: number, count: number): FlashRun[] {
    const neurons = this.parts.all.subarray(first, first + count);
    const slots = this.parts.all.subarray(0, count);
    const limits = { maxReadBytes: STREAM_READ_BYTES, maxGapBytes: 0, gapPtr: 0 };
    const runs: FlashRun[] = [];
    for (const places of this.#places) {
      const slotBase = base + (places.slotBase - this.parts.slotBase);
      planRuns({ ...places, slotBase }, neurons, slots, slots, limits, runs);
    }
    return runs;
  }

  #planWave(wave: CacheWave): FlashRun[] {
    const runs: FlashRun[] = [];
    for (const places of this.#places) {
      planRuns(places, wave.neurons, wave.slots, wave.misses, this.#limits, runs);
    }
    return runs;
  }

  #countChunk(chunk: StreamChunk, nTokens: number, meter: TokenMeter): void {
    meter.counters.named += chunk.count * nTokens;
    meter.counters.misses += chunk.count;
    meter.counters.loaded += chunk.count;
    meter.countReads(this.#landedRuns);
  }

  #countWave(wave: CacheWave, meter: TokenMeter): void {
    meter.counters.named += wave.neurons.length;
    meter.counters.hits += wave.hits.length;
    meter.counters.misses += wave.misses.length;
    meter.counters.loaded += wave.misses.length;
  }

  /** Reads neurons `first` … in order to consecutive slots at `base`, aside of the cache, and waits for them. */
  async #readStretch(base: Ptr, first: number, count: number, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { kernels, reader } = this.parts;
    meter.enter("readWait");
    const runs = this.#planStretch(base, first, count);
    reader.start(kernels.arena.bytes, runs, signal);
    const pending = reader.wait();
    if (pending) await pending;
    meter.countReads(runs, true);
    this.#identity(count);
    this.#check(count, (i) => first + i, base, meter);
  }

  /** Slot copies that a wave asks for before its loads. */
  #move(wave: CacheWave): void {
    if (wave.moves.length === 0) return;
    const { kernels, weights, slotBase, slotBias, cache } = this.parts;
    const { arena } = kernels;
    const { slotBytes } = weights;
    const bias = slotBias === 0 ? null : arena.f32(slotBias, cache.slotCount);
    for (let i = 0; i < wave.moves.length; i += 2) {
      const from = wave.moves[i]!;
      const to = wave.moves[i + 1]!;
      arena.bytes.copyWithin(slotBase + to * slotBytes, slotBase + from * slotBytes, slotBase + (from + 1) * slotBytes);
      kernels.put(slotBase + to * slotBytes, slotBytes);
      if (bias) bias[to] = bias[from]!;
    }
    this.#putSlotBias();
  }

  #putSlotBias(): void {
    const { kernels, slotBias, cache } = this.parts;
    if (slotBias !== 0) kernels.put(slotBias, 4 * cache.slotCount);
  }

  /** Executes a wave's moves and loads, and waits for them. */
  async #read(wave: CacheWave, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { kernels, workspace, reader } = this.parts;
    this.#move(wave);
    const runs = this.#planWave(wave);
    if (runs.length === 0) return;
    meter.enter("readWait");
    meter.takeOff();
    reader.start(kernels.arena.bytes, runs, signal);
    const pending = reader.wait();
    if (pending) await pending;
    meter.land();
    meter.countReads(runs);
    meter.enter("cache");
    const slots = kernels.arena.u32(workspace.slots, wave.misses.length);
    for (let i = 0; i < wave.misses.length; i++) slots[i] = wave.slots[wave.misses[i]!]!;
    this.#arrive(wave, 0, wave.misses.length, 0, meter);
  }

  /** A layer with a slot for every neuron, some of which decoding has loaded: reads the others. */
  async #fillGaps(ahead: StreamAhead, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { cache, all } = this.parts;
    meter.enter("cache");
    for (const wave of cache.admit(all)) {
      this.#countWave(wave, meter);
      if (wave.misses.length > 0) {
        meter.enter("readWait");
        await ahead.settle();
      }
      await this.#read(wave, meter, signal);
    }
  }

  /** A layer that was streamed in place is resident: tells the cache so. Neuron i lies in slot i. */
  #own(): void {
    const { cache, all, kernels, slotBias, upBias, dFf } = this.parts;
    const wave = cache.seed([all]);
    assert(
      wave.slots.every((slot, neuron) => slot === neuron),
      "an empty cache fills in order",
    );
    if (slotBias === 0) return;
    kernels.arena.f32(slotBias, dFf).set(kernels.arena.f32(upBias, dFf));
    this.#putSlotBias();
  }

  /** What of `sets` is kept as the layer passes; null if nothing. The cache is empty, and claims it from now on. */
  #planKept(sets: readonly Uint32Array[]): KeptNeurons | null {
    const { keptSlots } = this.#stream;
    const { cache, dFf } = this.parts;
    if (sets.length === 0 || keptSlots === 0 || keptSlots === dFf) return null;
    cache.clear();
    return { wave: cache.seed(sets, keptSlots), next: 0 };
  }

  /** Copies what is to be kept of a chunk to its slots. */
  #keep(kept: KeptNeurons, chunk: StreamChunk, base: Ptr): void {
    const { kernels, weights, slotBase, slotBias, upBias, cache, dFf } = this.parts;
    const { slotBytes } = weights;
    const { neurons, slots } = kept.wave;
    const bias = slotBias === 0 ? null : kernels.arena.f32(slotBias, cache.slotCount);
    const upBiases = upBias === 0 ? null : kernels.arena.f32(upBias, dFf);
    for (; kept.next < neurons.length && neurons[kept.next]! < chunk.first + chunk.count; kept.next++) {
      const neuron = neurons[kept.next]!;
      const slot = slots[kept.next]!;
      const from = base + (neuron - chunk.first) * slotBytes;
      kernels.arena.bytes.copyWithin(slotBase + slot * slotBytes, from, from + slotBytes);
      kernels.put(slotBase + slot * slotBytes, slotBytes);
      if (bias && upBiases) bias[slot] = upBiases[neuron]!;
    }
    this.#putSlotBias();
  }

  /**
   * Checks `count` records that lie in the slots listed in `workspace.slots` from entry `at` on. Their checksums pass through
   * `workspace.act`, which nothing else uses yet for these neurons.
   *
   * @param base Of slot 0.
   */
  #check(count: number, neuronOf: (index: number) => number, base: Ptr, meter: TokenMeter, at = 0): void {
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
      `${reader.name} @ ${offset}: record of layer ${layer}, neuron ${neuron} has CRC-32C ${hex(found)}, expected ` +
        `${hex(expected)}; the file is damaged, fetch or convert it again`,
      { details: { layer, neuron, offset, found, expected } },
    );
  }
}

const hex = (value: number) => value.toString(16).padStart(8, "0");
