/**
 * One layer's FFN over all neurons, for a batch of tokens: streamed from flash in order with large reads, or used in place where all of it is
 * resident.
 *
 * A layer that streams passes through its arena's stage. Either it refills the cache: all of it is read, and what the last tokens use is kept as it
 * passes. Or neurons that have a slot are used where they are, and the others are read. Either way free slots take in what passes, so that less is
 * read next time. It may be told that each token uses only a set of its own; the other activations become zero. Sums run in ascending neuron order
 * all the same, so that nothing of this changes a bit.
 */
import { type ActivationFunction, assert, paddedLength } from "@flashwick/core";
import type { FlashRun } from "@flashwick/flash-io";
import type { Ptr, SlotMatrix } from "@flashwick/kernels";
import {
  cutChunks,
  type StageArea,
  type StreamAhead,
  type StreamChunk,
  type StreamedLayer,
  type StreamStage,
} from "./layer-stream.js";
import { maskNonMembers } from "./member-mask.js";
import type { NeuronSlots } from "./neuron-slots.js";
import type { TokenMeter } from "./token-meter.js";

/**
 * Called for each stretch of neurons whose activations were computed, before tokens are held to their own sets and before the down
 * projection. `act` is f32 `[nTokens, pad(count)]` in the arena.
 */
export type OnActivations = (firstNeuron: number, count: number, act: Ptr, nTokens: number) => void;

export interface StreamRequest {
  readonly nTokens: number;
  /** A set for each token, ascending neurons; null: every token uses all. */
  readonly sets: readonly Uint32Array[] | null;
  readonly onActivations?: OnActivations | undefined;
  /** Where the cache is refilled: sets of the last tokens, oldest first, which decoding will want next. */
  readonly keep: readonly Uint32Array[];
  readonly signal?: AbortSignal | undefined;
}

/** Neurons that stay when a layer refills its cache, ascending, and how many of them have passed. */
interface KeptNeurons {
  readonly neurons: Uint32Array;
  next: number;
}

/** The neurons whose slots are listed in `workspace.slots`. */
interface ListedNeurons {
  readonly count: number;
  readonly neuronOf: (i: number) => number;
  /** Of which entries an op is about. Default: all. */
  readonly begin?: number;
  readonly end?: number;
}

/** A chunk on its way: where its neurons go that are not in slots, and how. */
interface IssuedChunk {
  readonly area: StageArea;
  /** Those that are read, ascending. */
  readonly neurons: Uint32Array;
  readonly runs: readonly FlashRun[];
}

/**
 * Resident neurons that are read over in a stream: what a device that gives 2.5 GB/s in sequence and 75 thousand operations a second reads in the
 * time of one (docs/results/ladder.md). Into the stage they come in order, so that unlike between single reads nothing is gathered.
 */
const STREAM_GAP_BYTES = 32 * 1024;

export class StreamedFfn implements StreamedLayer {
  readonly #slots: NeuronSlots;
  readonly #activation: ActivationFunction;
  readonly #stage: StreamStage;
  readonly #chunks: readonly StreamChunk[];
  /** f32 `[dFf]` of scratch outside the arena; shared by all layers. */
  readonly #reordered: Float32Array;
  /** Resident neurons between two absent ones are read once more if they are no more than this. */
  readonly #bridged: number;
  #issued: IssuedChunk | null = null;
  #landed: IssuedChunk | null = null;

  constructor(slots: NeuronSlots, activation: ActivationFunction, stage: StreamStage, reordered: Float32Array) {
    this.#slots = slots;
    this.#activation = activation;
    this.#stage = stage;
    this.#reordered = reordered;
    const { dFf, weights, gap } = slots.parts;
    this.#chunks = cutChunks(dFf, stage.neurons);
    this.#bridged = Math.floor(Math.max(gap.maxGapBytes, STREAM_GAP_BYTES) / weights.strideBytes);
  }

  /**
   * out[t] += Σ over the neurons of token t of f(up · x[t] + bias) · down.
   *
   * @param out f32 `[nTokens, pad(dModel)]`, accumulated into.
   */
  async compute(out: Ptr, x: Ptr, request: StreamRequest, ahead: StreamAhead, meter: TokenMeter): Promise<void> {
    const { cache, dFf, workspace, kernels } = this.#slots.parts;
    const chunks = this.streamChunks();
    try {
      if (chunks.length === 0) {
        await this.#readAbsent(ahead, meter, request.signal);
        const slots = kernels.arena.u32(workspace.slots, dFf);
        for (let neuron = 0; neuron < dFf; neuron++) slots[neuron] = cache.slotOf(neuron);
        kernels.put(workspace.slots, 4 * dFf);
        this.#up(x, this.#slots.matrix, { count: dFf, neuronOf: (i) => i }, request.nTokens, meter);
        await this.#down(out, 0, dFf, this.#slots.matrix, request);
        return;
      }
      let kept: KeptNeurons | null = null;
      for (const [index, chunk] of chunks.entries()) {
        meter.enter("readWait");
        await ahead.take(this, chunks, index, request.signal);
        meter.enter("cache");
        // Not before the first chunk is taken: starting it empties the cache.
        if (index === 0) kept = this.#planKept(request.keep);
        await this.#computeChunk(out, x, chunk, kept, request, meter);
      }
      if (kept) this.#slots.setAllBiases();
      if (this.#fillsInPlace) this.#ownAll();
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  streamChunks(): readonly StreamChunk[] {
    return this.#fillsInPlace && this.#slots.cache.numUsed > 0 ? [] : this.#chunks;
  }

  startChunk(chunk: StreamChunk, refill: boolean, signal?: AbortSignal): void {
    const { cache, all, reader, kernels } = this.#slots.parts;
    if (refill && !this.#fillsInPlace && chunk.first === 0) cache.clear();
    const range = all.subarray(chunk.first, chunk.first + chunk.count);
    const area = this.#fillsInPlace
      ? { ptr: this.#slots.slotPtr(chunk.first), upBias: 0, gateBias: 0 }
      : this.#stage.nextArea();
    // A device has the chunk's neurons side by side: what it would save is less than what gathering them takes.
    const isWhole = refill || this.#fillsInPlace || kernels.mirrored;
    const neurons = isWhole ? range : this.#toRead(range);
    this.#issued = { area, neurons, runs: this.#slots.planInOrder(area.ptr, neurons) };
    reader.start(kernels.arena.bytes, this.#issued.runs, signal);
  }

  landChunk(): void | Promise<void> {
    this.#landed = this.#issued;
    return this.#slots.parts.reader.wait();
  }

  get #fillsInPlace(): boolean {
    const { cache, dFf } = this.#slots.parts;
    return cache.slotCount >= dFf;
  }

  /** The neurons of a stretch that have no slot, and those between them that are rather read again than skipped. */
  #toRead(range: Uint32Array): Uint32Array {
    const { cache } = this.#slots;
    if (cache.numUsed === 0) return range;
    const read: number[] = [];
    let last = -1;
    for (const [i, neuron] of range.entries()) {
      if (cache.slotOf(neuron) >= 0) continue;
      if (last >= 0 && i - last - 1 <= this.#bridged) for (let j = last + 1; j < i; j++) read.push(range[j]!);
      read.push(neuron);
      last = i;
    }
    return read.length === range.length ? range : Uint32Array.from(read);
  }

  async #computeChunk(
    out: Ptr,
    x: Ptr,
    chunk: StreamChunk,
    kept: KeptNeurons | null,
    request: StreamRequest,
    meter: TokenMeter,
  ): Promise<void> {
    const { area, neurons, runs } = this.#landed!;
    const { nTokens } = request;
    meter.counters.named += chunk.count * nTokens;
    meter.counters.misses += neurons.length;
    meter.counters.hits += (chunk.count - neurons.length) * nTokens;
    meter.counters.loaded += neurons.length;
    meter.countReads(runs);
    this.#slots.listInOrder(neurons.length);
    this.#slots.check(neurons.length, (i) => neurons[i]!, area.ptr, meter);
    if (neurons.length === chunk.count) {
      if (kept) this.#keep(kept, chunk, area.ptr);
      const matrix = this.#slots.orderedMatrix(area.ptr, chunk.first);
      this.#up(x, matrix, { count: chunk.count, neuronOf: (i) => chunk.first + i }, nTokens, meter);
      await this.#down(out, chunk.first, chunk.count, matrix, request);
    } else {
      assert(!kept, "a refilled layer is read whole");
      this.#upMixed(x, chunk, area, neurons, nTokens, meter);
      await this.#down(out, chunk.first, chunk.count, this.#slots.matrix, request);
    }
    if (!kept && !this.#fillsInPlace) this.#fillFree(neurons, area.ptr, meter);
  }

  /** Copies what has been read to slots that are free. Those that the next chunk counts on stay where they are. */
  #fillFree(read: Uint32Array, base: Ptr, meter: TokenMeter): void {
    const { cache } = this.#slots;
    if (cache.numUsed === cache.slotCount) return;
    meter.enter("cache");
    const { slotBytes } = this.#slots.parts.weights;
    const wave = cache.fill(read);
    let at = 0;
    for (const [i, neuron] of wave.neurons.entries()) {
      while (read[at] !== neuron) at++;
      this.#slots.adopt(base + at * slotBytes, wave.slots[i]!);
    }
    this.#slots.setBiases(wave);
  }

  /** Activations of the neurons in `workspace.slots`. */
  #up(x: Ptr, matrix: SlotMatrix, listed: ListedNeurons, nTokens: number, meter: TokenMeter): void {
    const { kernels, workspace, gate } = this.#slots.parts;
    const { count, neuronOf, begin = 0, end = count } = listed;
    meter.enter("ffn");
    gate?.give(count, nTokens, begin, end, neuronOf);
    const { act, slots, scratch } = workspace;
    kernels.ffnUp(act, x, matrix, slots, count, nTokens, this.#activation, scratch, begin, end);
  }

  /**
   * Activations of a chunk of which some neurons are in slots and the others in the stage: first those, then these, and then in order, with slots
   * and stage as one list of slots.
   */
  #upMixed(x: Ptr, chunk: StreamChunk, area: StageArea, read: Uint32Array, nTokens: number, meter: TokenMeter): void {
    const { kernels, workspace, cache, slotBase, weights } = this.#slots.parts;
    const { count, first } = chunk;
    const resident = count - read.length;
    const list = kernels.arena.u32(workspace.slots, count);
    /** Where each neuron of the chunk stands in the list. */
    const places = new Uint32Array(count);
    const listedNeurons = new Uint32Array(count);
    let [r, s] = [0, 0];
    for (let i = 0; i < count; i++) {
      if (read[s] === first + i) places[i] = resident + s++;
      else {
        list[r] = cache.slotOf(first + i);
        places[i] = r++;
      }
      listedNeurons[places[i]!] = first + i;
    }
    const listed = { count, neuronOf: (i: number) => listedNeurons[i]! };
    for (let i = 0; i < read.length; i++) list[resident + i] = i;
    const staged = this.#slots.stagedMatrix(area, read);
    this.#up(x, this.#slots.matrix, { ...listed, end: resident }, nTokens, meter);
    this.#up(x, staged, { ...listed, begin: resident }, nTokens, meter);
    for (let t = 0; t < nTokens; t++) {
      const act = kernels.arena.f32(workspace.act + 4 * t * paddedLength(count), count);
      for (let i = 0; i < count; i++) this.#reordered[i] = act[places[i]!]!;
      act.set(this.#reordered.subarray(0, count));
    }
    const firstStaged = (area.ptr - slotBase) / weights.slotBytes;
    for (let i = resident; i < count; i++) list[i] = firstStaged + i - resident;
    const ordered = places.map((place) => list[place]!);
    list.set(ordered);
  }

  /** The sum over neurons `first` …, whose slots are in `workspace.slots`. */
  async #down(
    out: Ptr,
    first: number,
    count: number,
    matrix: SlotMatrix,
    { nTokens, sets, onActivations }: StreamRequest,
  ): Promise<void> {
    const { kernels, workspace, all } = this.#slots.parts;
    const { act, slots } = workspace;
    if (onActivations || sets) {
      const rowLength = paddedLength(count);
      const bytes = 4 * nTokens * rowLength;
      const pending = kernels.take(act, bytes);
      if (pending) await pending;
      onActivations?.(first, count, act, nTokens);
      if (sets) {
        maskNonMembers(
          kernels.arena.f32(act, nTokens * rowLength),
          rowLength,
          all.subarray(first, first + count),
          sets,
        );
        kernels.put(act, bytes);
      }
    }
    kernels.ffnDown(out, act, matrix, slots, count, nTokens);
  }

  /** A layer with a slot for every neuron, some of which decoding has loaded: reads the others. */
  async #readAbsent(ahead: StreamAhead, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    const { cache, all } = this.#slots.parts;
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
  }

  /** A layer that was streamed in place is resident: tells the cache so. Neuron i lies in slot i. */
  #ownAll(): void {
    const { cache, all } = this.#slots.parts;
    const wave = cache.seed([all]);
    assert(
      wave.slots.every((slot, neuron) => slot === neuron),
      "an empty cache fills in order",
    );
    this.#slots.setAllBiases();
  }

  /** What is kept as the layer passes: of `sets`, and where that leaves slots free, the first of the others. The cache is empty, and claims it from now on. */
  #planKept(sets: readonly Uint32Array[]): KeptNeurons | null {
    if (sets.length === 0 || this.#fillsInPlace) return null;
    const { cache, all } = this.#slots.parts;
    cache.clear();
    cache.seed(sets);
    cache.fill(all);
    const neurons = cache.pointer.slice(0, cache.numUsed).sort();
    return { neurons, next: 0 };
  }

  /** Copies what is to be kept of a chunk, which lies in order at `base`, to its slots. */
  #keep(kept: KeptNeurons, chunk: StreamChunk, base: Ptr): void {
    const { neurons } = kept;
    const { slotBytes } = this.#slots.parts.weights;
    for (; kept.next < neurons.length && neurons[kept.next]! < chunk.first + chunk.count; kept.next++) {
      const neuron = neurons[kept.next]!;
      this.#slots.adopt(base + (neuron - chunk.first) * slotBytes, this.#slots.cache.slotOf(neuron));
    }
  }
}
