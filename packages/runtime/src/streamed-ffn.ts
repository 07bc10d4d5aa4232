/**
 * One layer's FFN over all neurons, for a batch of tokens: streamed from flash in order with large reads, or used in place where all of it is
 * resident.
 *
 * Where a layer that streams refills its cache, what the last tokens use is kept as it passes. Else free slots take in what passes, so that less is
 * read next time. It may be told that each token uses only a set of its own; the other activations become zero. Sums run in ascending neuron order
 * all the same, so that nothing of this changes a bit.
 */
import { type ActivationFunction, assert, paddedLength } from "@flashwick/core";
import type { Ptr, SlotMatrix } from "@flashwick/kernels";
import type { StageArea, StreamAhead, StreamChunk, StreamStage } from "./layer-stream.js";
import { maskNonMembers } from "./member-mask.js";
import type { NeuronSlots } from "./neuron-slots.js";
import { RecordStream } from "./record-stream.js";
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

export class StreamedFfn {
  /** What passes through DRAM in order. */
  readonly stream: RecordStream;
  readonly #slots: NeuronSlots;
  readonly #activation: ActivationFunction;
  /** f32 `[dFf]` of scratch outside the arena; shared by all layers. */
  readonly #reordered: Float32Array;

  constructor(slots: NeuronSlots, activation: ActivationFunction, stage: StreamStage, reordered: Float32Array) {
    this.#slots = slots;
    this.#activation = activation;
    this.#reordered = reordered;
    this.stream = new RecordStream(slots, stage);
  }

  /**
   * out[t] += Σ over the neurons of token t of f(up · x[t] + bias) · down.
   *
   * @param out f32 `[nTokens, pad(dModel)]`, accumulated into.
   */
  async compute(out: Ptr, x: Ptr, request: StreamRequest, ahead: StreamAhead, meter: TokenMeter): Promise<void> {
    const { cache, dFf } = this.#slots.parts;
    const { stream } = this;
    const chunks = stream.streamChunks();
    try {
      if (chunks.length === 0) {
        await stream.readAbsent(ahead, meter, request.signal);
        this.#up(x, this.#slots.matrix, { count: dFf, neuronOf: (i) => i }, request.nTokens, meter);
        await this.#down(out, 0, dFf, this.#slots.matrix, request);
        return;
      }
      let kept: KeptNeurons | null = null;
      for (const [index, chunk] of chunks.entries()) {
        meter.enter("readWait");
        await ahead.take(stream, chunks, index, request.signal);
        meter.enter("cache");
        // Not before the first chunk is taken: starting it empties the cache.
        if (index === 0) kept = this.#planKept(request.keep);
        await this.#computeChunk(out, x, chunk, kept, request, meter);
      }
      if (kept) this.#slots.describeAll();
      if (stream.fillsInPlace) stream.ownAll();
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  async #computeChunk(
    out: Ptr,
    x: Ptr,
    chunk: StreamChunk,
    kept: KeptNeurons | null,
    request: StreamRequest,
    meter: TokenMeter,
  ): Promise<void> {
    const { nTokens } = request;
    const { area, units: neurons } = this.stream.checkLanded(chunk, nTokens, meter);
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
    if (!kept && !this.stream.fillsInPlace) this.stream.fillFree(neurons, area.ptr, meter);
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

  /** What is kept as the layer passes: of `sets`, and where that leaves slots free, the first of the others. The cache is empty, and claims it from now on. */
  #planKept(sets: readonly Uint32Array[]): KeptNeurons | null {
    if (sets.length === 0 || this.stream.fillsInPlace) return null;
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
