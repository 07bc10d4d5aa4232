/**
 * Samples in memory, in chunks of a few MiB: growing never copies. A layer's samples are plain data that can be posted to a
 * worker; with `shared` chunks, without copying.
 */
import { assert } from "@flashwick/core";
import { planSampleLayout } from "./sample-layout.js";
import {
  countBatch,
  type LayerSampleCounts,
  type LayerSamples,
  NO_SAMPLES,
  RowSamples,
  type Rows,
  type SampleBatch,
  type SampleShape,
  type SampleStore,
} from "./sample-store.js";

/** Large enough that chunks are few, small enough that an almost empty one wastes little. */
const CHUNK_BYTES = 4 * 2 ** 20;

/** Rows in chunks; plain data. */
export interface ChunkedRows {
  readonly rowBytes: number;
  readonly rowsPerChunk: number;
  readonly chunks: readonly Uint8Array[];
}

/** One layer's samples as plain data: structured-cloneable. */
export interface MemoryLayerData {
  readonly layer: number;
  readonly shape: SampleShape;
  readonly counts: LayerSampleCounts;
  readonly train: ChunkedRows;
  readonly heldOut: ChunkedRows;
  readonly magnitudes: ChunkedRows;
}

/** The samples of a layer from its plain data, in this thread or another. */
export function openMemorySamples(data: MemoryLayerData): LayerSamples {
  return new RowSamples(data.layer, data.shape, data.counts, {
    train: chunkReader(data.train),
    heldOut: chunkReader(data.heldOut),
    magnitudes: chunkReader(data.magnitudes),
  });
}

/** Samples in memory. */
export class MemorySampleStore implements SampleStore {
  readonly #layers: LayerPile[];
  #nextDocument = 0;

  /** @param shared Chunks are shared memory: posting a layer to a worker copies nothing. */
  constructor(
    readonly shape: SampleShape,
    shared = false,
  ) {
    this.#layers = Array.from({ length: shape.nLayers }, () => new LayerPile(shape, shared));
  }

  get nextDocument(): number {
    return this.#nextDocument;
  }

  /** Keeps the samples of a batch. */
  append(layer: number, batch: SampleBatch): void {
    this.#layers[layer]!.append(batch);
  }

  commit(nextDocument: number): void {
    this.#nextDocument = nextDocument;
  }

  layer(layer: number): LayerSamples {
    return openMemorySamples(this.layerData(layer));
  }

  /** What {@link openMemorySamples} takes; valid until the next `append`. */
  layerData(layer: number): MemoryLayerData {
    const { counts, train, heldOut, magnitudes } = this.#layers[layer]!;
    const data = { counts, train: train.data, heldOut: heldOut.data, magnitudes: magnitudes.data };
    return { layer, shape: this.shape, ...data };
  }
}

class LayerPile {
  counts = NO_SAMPLES;
  readonly train: RowPile;
  readonly heldOut: RowPile;
  readonly magnitudes: RowPile;

  constructor(shape: SampleShape, shared: boolean) {
    const { recordBytes } = planSampleLayout(shape.dModel, shape.dFf);
    this.train = new RowPile(recordBytes, shared);
    this.heldOut = new RowPile(recordBytes, shared);
    this.magnitudes = new RowPile(4, shared);
  }

  append(batch: SampleBatch): void {
    const { heldOut, records, magnitudes } = batch;
    assert(magnitudes.length === (heldOut ? batch.active : 0), "one magnitude for each active held-out neuron");
    (heldOut ? this.heldOut : this.train).append(records);
    this.magnitudes.append(new Uint8Array(magnitudes.buffer, magnitudes.byteOffset, magnitudes.byteLength));
    this.counts = countBatch(this.counts, batch);
  }
}

class RowPile {
  readonly #chunks: Uint8Array[] = [];
  readonly #rowsPerChunk: number;
  #usedBytes = 0;

  constructor(
    private readonly rowBytes: number,
    private readonly shared: boolean,
  ) {
    this.#rowsPerChunk = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
  }

  get data(): ChunkedRows {
    return { rowBytes: this.rowBytes, rowsPerChunk: this.#rowsPerChunk, chunks: [...this.#chunks] };
  }

  append(bytes: Uint8Array): void {
    assert(bytes.byteLength % this.rowBytes === 0, "whole rows");
    const chunkBytes = this.#rowsPerChunk * this.rowBytes;
    for (let from = 0; from < bytes.byteLength; ) {
      const at = this.#usedBytes % chunkBytes;
      if (at === 0) this.#chunks.push(this.#newChunk(chunkBytes));
      const piece = bytes.subarray(from, from + chunkBytes - at);
      this.#chunks.at(-1)!.set(piece, at);
      this.#usedBytes += piece.byteLength;
      from += piece.byteLength;
    }
  }

  #newChunk(sizeBytes: number): Uint8Array {
    return new Uint8Array(this.shared ? new SharedArrayBuffer(sizeBytes) : new ArrayBuffer(sizeBytes));
  }
}

/** Reads rows from chunks. */
export function chunkReader({ rowBytes, rowsPerChunk, chunks }: ChunkedRows): Rows {
  return {
    read(first, count, out) {
      for (let done = 0; done < count; ) {
        const at = (first + done) % rowsPerChunk;
        const rows = Math.min(count - done, rowsPerChunk - at);
        const chunk = chunks[Math.floor((first + done) / rowsPerChunk)]!;
        out.set(chunk.subarray(at * rowBytes, (at + rows) * rowBytes), done * rowBytes);
        done += rows;
      }
    },
  };
}
