/**
 * Streaming a layer's neurons through DRAM in order, one chunk ahead of the compute.
 *
 * A layer that fits its slots is filled in place, chunk by chunk. One that does not passes through the stage of its arena, two areas in turn: while
 * one is computed, the other is read, and after a layer's last chunk comes the first of the next. The slots are left alone.
 */
import { LONGEST_CHUNK_BYTES } from "@flashwick/cost-model";
import type { Ptr } from "@flashwick/kernels";

/** Neurons `first` … `first + count − 1`. */
export interface StreamChunk {
  readonly first: number;
  readonly count: number;
}

/** Of a layer: with longer chunks there would be nothing to read ahead. */
const MOST_CHUNK_SHARE = 1 / 4;
/** Shorter chunks are reads of a few records each. */
const LEAST_CHUNK_NEURONS = 8;

/** How many neurons a chunk may have, for layers of `dFf`; the memory plan decides. */
export function chunkRange(
  dFf: number,
  slotBytes: number,
): { readonly leastNeurons: number; readonly mostNeurons: number } {
  const leastNeurons = Math.min(dFf, LEAST_CHUNK_NEURONS);
  const most = Math.min(Math.ceil(dFf * MOST_CHUNK_SHARE), Math.floor(LONGEST_CHUNK_BYTES / slotBytes));
  return { leastNeurons, mostNeurons: Math.max(leastNeurons, most) };
}

/** Cuts a layer of `dFf` neurons into chunks of at most `most`. */
export function cutChunks(dFf: number, most: number): StreamChunk[] {
  return Array.from({ length: Math.ceil(dFf / most) }, (_, index) => {
    const first = index * most;
    return { first, count: Math.min(most, dFf - first) };
  });
}

/** An arena's room for streaming: two areas of `neurons` slots each, behind the slots of its layers, so that kernels address both alike. */
export class StreamStage {
  readonly neurons: number;
  /** Bytes of an area. */
  readonly areaBytes: number;
  readonly #base: Ptr;
  readonly #slotBytes: number;
  readonly #bias: Ptr;
  readonly #biasCount: number;
  #last = 1;

  /**
   * @param base A multiple of `slotBytes` behind slot 0 of every layer in the arena.
   * @param bias f32 `[biasCount, neurons]` for each area: of gate and up.
   */
  constructor(base: Ptr, neurons: number, slotBytes: number, bias: Ptr, biasCount: number) {
    this.#base = base;
    this.neurons = neurons;
    this.areaBytes = neurons * slotBytes;
    this.#slotBytes = slotBytes;
    this.#bias = bias;
    this.#biasCount = biasCount;
  }

  /** The area that was not handed out last: what lies in the other one is still being computed. */
  nextArea(): StageArea {
    this.#last = 1 - this.#last;
    const first = this.#last * this.neurons;
    const upBias = this.#bias + 4 * this.#biasCount * first;
    // A layer with one kind of biases has room for it, whichever it is.
    const gateBias = this.#biasCount > 1 ? upBias + 4 * this.neurons : upBias;
    return { ptr: this.#base + first * this.#slotBytes, upBias, gateBias };
  }
}

export interface StageArea {
  readonly ptr: Ptr;
  /** Room for the biases of its neurons, if they have any. */
  readonly upBias: Ptr;
  readonly gateBias: Ptr;
}

/** A layer that can be streamed. */
export interface StreamedLayer {
  /** What of it must be read, in order; nothing where it is resident. */
  streamChunks(): readonly StreamChunk[];
  /** Begins to read a chunk; nothing else is in flight. @param refill The cache is refilled: all of the layer is read, and its slots are emptied. */
  startChunk(chunk: StreamChunk, refill: boolean, signal?: AbortSignal): void;
  /** Waits until the chunk that was begun has landed. */
  landChunk(chunk: StreamChunk): void | Promise<void>;
}

/** What counts the time of reads. */
export interface ReadClock {
  readsIssued(): void;
  readsLanded(): void;
}

interface IssuedChunk {
  readonly layer: StreamedLayer;
  readonly chunk: StreamChunk;
  landed: boolean;
}

/** Keeps one chunk in flight ahead of the one that is computed. At most one batch of the reader is its. */
export class StreamAhead {
  readonly #layers: readonly StreamedLayer[];
  /** False: each chunk is read when it is asked for. What is in flight already is not wasted. */
  ahead: boolean;
  /** Whether the chunk after a layer's last is the next layer's first: only where that layer is sure to be streamed, too. */
  acrossLayers = true;
  /** Whether layers refill their caches; else these are left alone. */
  refill = false;
  readonly #meter: ReadClock;
  #issued: IssuedChunk | null = null;

  /**
   * @param layers In the order in which they are computed.
   * @param ahead  See {@link ahead}.
   */
  constructor(layers: readonly StreamedLayer[], ahead: boolean, meter: ReadClock) {
    this.#layers = layers;
    this.ahead = ahead;
    this.#meter = meter;
  }

  /** Returns when chunk `index` of `chunks`, a layer's own, has landed; the next one is on its way then. */
  async take(layer: StreamedLayer, chunks: readonly StreamChunk[], index: number, signal?: AbortSignal): Promise<void> {
    const chunk = chunks[index]!;
    if (this.#issued?.layer !== layer || this.#issued.chunk.first !== chunk.first) {
      await this.settle();
      this.#start(layer, chunk, signal);
    }
    await this.settle();
    this.#issued = null;
    if (!this.ahead) return;
    if (index + 1 < chunks.length) this.#start(layer, chunks[index + 1]!, signal);
    else if (this.acrossLayers) this.#startLayerAfter(layer, signal);
  }

  /** Waits for what is in flight, so that the reader can be used for something else; what has landed is kept. */
  async settle(): Promise<void> {
    if (!this.#issued || this.#issued.landed) return;
    const { layer, chunk } = this.#issued;
    try {
      const pending = layer.landChunk(chunk);
      if (pending) await pending;
      this.#meter.readsLanded();
      this.#issued.landed = true;
    } catch (error) {
      this.#issued = null;
      throw error;
    }
  }

  /** Forgets what is in flight, after it has ended one way or the other. */
  async drop(): Promise<void> {
    await this.settle().catch(() => {});
    this.#issued = null;
  }

  #start(layer: StreamedLayer, chunk: StreamChunk, signal?: AbortSignal): void {
    this.#meter.readsIssued();
    layer.startChunk(chunk, this.refill, signal);
    this.#issued = { layer, chunk, landed: false };
  }

  #startLayerAfter(layer: StreamedLayer, signal?: AbortSignal): void {
    const later = this.#layers.slice(this.#layers.indexOf(layer) + 1);
    const next = later.find((candidate) => candidate.streamChunks().length > 0);
    if (next) this.#start(next, next.streamChunks()[0]!, signal);
  }
}
