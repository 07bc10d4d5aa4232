/**
 * One layer's FFN over all neurons, for a batch of tokens: the layer is streamed from flash in order with large reads, or used in place where
 * all of it is resident.
 *
 * It may be told that each token uses only a set of its own; the other activations become zero, which changes no other bit.
 */
import { type Activation, assert, paddedLength } from "@flashwick/core";
import type { CacheWave } from "@flashwick/dram-cache";
import type { FlashRun } from "@flashwick/flash-io";
import type { Ptr, SlotMatrix } from "@flashwick/kernels";
import { planStream, type StreamAhead, type StreamChunk, type StreamedLayer, type StreamPlan } from "./layer-stream.js";
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
  /** Sets of the last tokens, oldest first: what decoding will want next. Kept as the layer passes, where slots are left for it. */
  readonly keep: readonly Uint32Array[];
  readonly signal?: AbortSignal | undefined;
}

/** Neurons that stay when a layer is streamed, and how many of them have passed. */
interface KeptNeurons {
  readonly wave: CacheWave;
  next: number;
}

export class StreamedFfn implements StreamedLayer {
  readonly #slots: NeuronSlots;
  readonly #activation: Activation;
  readonly #plan: StreamPlan;
  /** What the chunk that is being read, and the one that landed last, are read with. */
  #chunkRuns: readonly FlashRun[] = [];
  #landedRuns: readonly FlashRun[] = [];

  constructor(slots: NeuronSlots, activation: Activation) {
    this.#slots = slots;
    this.#activation = activation;
    const { dFf, cache, weights } = slots.parts;
    this.#plan = planStream(dFf, cache.slotCount, weights.slotBytes);
  }

  /**
   * out[t] += Σ over the neurons of token t of f(up · x[t] + bias) · down. Afterwards the cache holds everything, where that fits, or else
   * what `keep` names, as far as slots were left.
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
        await this.#computeStretch(out, x, this.#slots.matrix, 0, dFf, request, meter);
        return;
      }
      let kept: KeptNeurons | null = null;
      for (const [index, chunk] of chunks.entries()) {
        meter.enter("readWait");
        await ahead.take(this, chunks, index, request.signal);
        meter.enter("cache");
        // Not before the first chunk is taken: starting it empties the cache.
        if (index === 0) kept = this.#planKept(request.keep);
        const base = this.#slots.slotPtr(chunk.slot);
        this.#count(chunk, request.nTokens, meter);
        this.#slots.listInOrder(chunk.count);
        this.#slots.check(chunk.count, (i) => chunk.first + i, base, meter);
        if (kept) this.#keep(kept, chunk, base);
        const matrix = this.#slots.orderedMatrix(base, chunk.first);
        await this.#computeStretch(out, x, matrix, chunk.first, chunk.count, request, meter);
      }
      if (kept) this.#slots.setAllBiases();
      if (this.#plan.keptSlots === dFf) this.#ownAll();
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  /**
   * Fills the cache from the sets of the last tokens by reading them, where `compute` had no slots left to keep them in.
   *
   * @param sets Oldest first.
   */
  async seed(sets: readonly Uint32Array[], ahead: StreamAhead, meter: TokenMeter, signal?: AbortSignal): Promise<void> {
    if (this.#plan.keptSlots > 0) return;
    const { cache } = this.#slots;
    try {
      meter.enter("readWait");
      await ahead.settle();
      meter.enter("cache");
      await this.#slots.readWave(cache.seed(sets), meter, signal);
    } catch (error) {
      cache.clear();
      throw error;
    }
  }

  streamChunks(): readonly StreamChunk[] {
    const { cache, dFf } = this.#slots.parts;
    return cache.slotCount >= dFf && cache.numUsed > 0 ? [] : this.#plan.chunks;
  }

  startChunk(chunk: StreamChunk, signal?: AbortSignal): void {
    const { cache, dFf, reader, kernels } = this.#slots.parts;
    // The slots are about to be overwritten; those below the streamed ones are given up with them.
    if (cache.slotCount < dFf && chunk.first === 0) cache.clear();
    this.#chunkRuns = this.#slots.planStretch(this.#slots.slotPtr(chunk.slot), chunk.first, chunk.count);
    reader.start(kernels.arena.bytes, this.#chunkRuns, signal);
  }

  landChunk(): void | Promise<void> {
    this.#landedRuns = this.#chunkRuns;
    return this.#slots.parts.reader.wait();
  }

  /** Activations of neurons `first` … in `workspace.slots`, then their sum. */
  async #computeStretch(
    out: Ptr,
    x: Ptr,
    matrix: SlotMatrix,
    first: number,
    count: number,
    { nTokens, sets, onActivations }: StreamRequest,
    meter: TokenMeter,
  ): Promise<void> {
    const { kernels, workspace, all } = this.#slots.parts;
    meter.enter("ffn");
    const { act, slots, scratch } = workspace;
    kernels.ffnUp(act, x, matrix, slots, count, nTokens, this.#activation, scratch);
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

  #count(chunk: StreamChunk, nTokens: number, meter: TokenMeter): void {
    meter.counters.named += chunk.count * nTokens;
    meter.counters.misses += chunk.count;
    meter.counters.loaded += chunk.count;
    meter.countReads(this.#landedRuns);
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

  /** What of `sets` is kept as the layer passes; null if nothing. The cache is empty, and claims it from now on. */
  #planKept(sets: readonly Uint32Array[]): KeptNeurons | null {
    const { keptSlots } = this.#plan;
    const { cache, dFf } = this.#slots.parts;
    if (sets.length === 0 || keptSlots === 0 || keptSlots === dFf) return null;
    cache.clear();
    return { wave: cache.seed(sets, keptSlots), next: 0 };
  }

  /** Copies what is to be kept of a chunk to its slots. */
  #keep(kept: KeptNeurons, chunk: StreamChunk, base: Ptr): void {
    const { neurons, slots } = kept.wave;
    const { slotBytes } = this.#slots.parts.weights;
    for (; kept.next < neurons.length && neurons[kept.next]! < chunk.first + chunk.count; kept.next++) {
      this.#slots.adopt(base + (neurons[kept.next]! - chunk.first) * slotBytes, slots[kept.next]!);
    }
  }
}
