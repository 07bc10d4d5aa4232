/**
 * Streaming a layer's neurons through DRAM in order, one chunk ahead of the compute.
 *
 * A layer that fits its slots is filled in place, chunk by chunk. One that does not passes through two areas at the end of
 * its slots in turn: while one is computed, the other is read, and after a layer's last chunk comes the first of the next.
 * What lies below those areas is left alone, so that records wanted for decoding can be kept as they pass.
 */
import { assert } from "@flashwick/core";

/** Neurons `first` … `first + count − 1`, read to consecutive slots from `slot`. */
export interface StreamChunk {
  readonly first: number;
  readonly count: number;
  readonly slot: number;
}

export interface StreamPlan {
  readonly chunks: readonly StreamChunk[];
  /** The first so many slots are not streamed through. */
  readonly keptSlots: number;
}

/** Large enough for the device's full bandwidth and small beside a layer. */
const CHUNK_BYTES = 8 * 2 ** 20;
/** Below this, reads are so short that slots are better spent on longer chunks than on kept neurons. */
const LEAST_CHUNK_BYTES = 2 ** 20;
/** Share of the slots that one of the two areas takes. */
const CHUNK_SHARE = 1 / 8;

/** How a layer of `dFf` neurons is streamed through `slotCount` slots. Pure. */
export function planStream(dFf: number, slotCount: number, slotBytes: number): StreamPlan {
  const wanted = Math.max(1, Math.floor(CHUNK_BYTES / slotBytes));
  assert(slotCount >= dFf || slotCount >= 2, "two areas to stream through");
  if (slotCount >= dFf) return { chunks: cut(dFf, wanted, (first) => first), keptSlots: dFf };
  const shared = Math.min(wanted, Math.floor(slotCount * CHUNK_SHARE));
  const count = shared * slotBytes >= LEAST_CHUNK_BYTES ? shared : Math.max(1, Math.floor(slotCount / 2));
  const keptSlots = slotCount - 2 * count;
  return { chunks: cut(dFf, count, (_, index) => keptSlots + (index % 2) * count), keptSlots };
}

function cut(dFf: number, most: number, slotOf: (first: number, index: number) => number): StreamChunk[] {
  return Array.from({ length: Math.ceil(dFf / most) }, (_, index) => {
    const first = index * most;
    return { first, count: Math.min(most, dFf - first), slot: slotOf(first, index) };
  });
}

/** A layer that can be streamed. */
export interface StreamedLayer {
  /** What of it must be read, in order; nothing where it is resident. */
  streamChunks(): readonly StreamChunk[];
  /** Begins to read a chunk; nothing else is in flight. */
  startChunk(chunk: StreamChunk, signal?: AbortSignal): void;
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
    layer.startChunk(chunk, signal);
    this.#issued = { layer, chunk, landed: false };
  }

  #startLayerAfter(layer: StreamedLayer, signal?: AbortSignal): void {
    const later = this.#layers.slice(this.#layers.indexOf(layer) + 1);
    const next = later.find((candidate) => candidate.streamChunks().length > 0);
    if (next) this.#start(next, next.streamChunks()[0]!, signal);
  }
}
