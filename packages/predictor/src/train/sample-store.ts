/**
 * Samples to train from and to calibrate on: what a recorder writes and a trainer reads.
 *
 * Per layer two piles of records (sample-layout.ts), training and held out, and for the held-out ones the magnitudes of
 * their active neurons, from which missed output mass is computed. Reading is synchronous: training is a tight loop in a
 * worker, over memory or over a file in the page cache.
 */
import { assert } from "@flashwick/core";
import { planSampleLayout, type SampleLayout } from "./sample-layout.js";

/** Widths of the model that samples are of. */
export interface SampleShape {
  readonly nLayers: number;
  readonly dModel: number;
  readonly dFf: number;
}

/** Consecutive tokens of one document in one layer, as a `BatchRecorder` makes them. */
export interface SampleBatch {
  readonly heldOut: boolean;
  readonly nTokens: number;
  /** `[nTokens, recordBytes]`. */
  readonly records: Uint8Array;
  /** Held out only, else empty: the activations of all active neurons, by token and then by neuron. */
  readonly magnitudes: Float32Array;
  /** Set bits in all records. */
  readonly active: number;
}

/** Where a recorder puts samples. */
export interface SampleSink {
  /** The first document that is not yet recorded: where a resumed recording goes on. */
  readonly nextDocument: number;
  /**
   * Takes the samples of a batch.
   *
   * @param batch Its records are the recorder's own, and change with the next batch.
   */
  append(layer: number, batch: SampleBatch): void;
  /** Declares every document before `nextDocument` recorded, in all layers; what was appended is kept from now on. */
  commit(nextDocument: number): void;
}

/** A sink that keeps them. */
export interface SampleStore extends SampleSink {
  readonly shape: SampleShape;
  /** The committed samples of one layer. */
  layer(layer: number): LayerSamples;
}

/** Counts of one layer's samples. */
export interface LayerSampleCounts {
  readonly trainTokens: number;
  readonly heldOutTokens: number;
  /** Active neurons summed over the tokens. */
  readonly trainActive: number;
  readonly heldOutActive: number;
}

export const NO_SAMPLES: LayerSampleCounts = { trainTokens: 0, heldOutTokens: 0, trainActive: 0, heldOutActive: 0 };

/** Counts after one more batch. */
export function countBatch(counts: LayerSampleCounts, { heldOut, nTokens, active }: SampleBatch): LayerSampleCounts {
  if (heldOut) {
    return {
      ...counts,
      heldOutTokens: counts.heldOutTokens + nTokens,
      heldOutActive: counts.heldOutActive + active,
    };
  }
  return { ...counts, trainTokens: counts.trainTokens + nTokens, trainActive: counts.trainActive + active };
}

/** One layer's samples, read-only. */
export interface LayerSamples {
  readonly layer: number;
  readonly layout: SampleLayout;
  readonly counts: LayerSampleCounts;
  /** Fills `out` with the training records `indices`, one after the other. */
  readTrain(indices: Uint32Array, out: Uint8Array): void;
  /** Fills `out` with `count` held-out records from `first`. */
  readHeldOut(first: number, count: number, out: Uint8Array): void;
  /** Fills `out` with held-out magnitudes from the `first`-th on: active neurons in the order of the held-out records. */
  readMagnitudes(first: number, out: Float32Array): void;
}

/** Rows of equal size, in memory or in a file. */
export interface Rows {
  /** Fills `out` with `count` rows from `first`. */
  read(first: number, count: number, out: Uint8Array): void;
}

/** A layer's samples over three piles of rows. */
export class RowSamples implements LayerSamples {
  readonly layout: SampleLayout;

  constructor(
    readonly layer: number,
    shape: SampleShape,
    readonly counts: LayerSampleCounts,
    private readonly rows: { readonly train: Rows; readonly heldOut: Rows; readonly magnitudes: Rows },
  ) {
    this.layout = planSampleLayout(shape.dModel, shape.dFf);
  }

  readTrain(indices: Uint32Array, out: Uint8Array): void {
    const { recordBytes } = this.layout;
    for (let i = 0; i < indices.length; i++) {
      const index = indices[i]!;
      assert(index < this.counts.trainTokens, "a training sample that exists");
      this.rows.train.read(index, 1, out.subarray(i * recordBytes, (i + 1) * recordBytes));
    }
  }

  readHeldOut(first: number, count: number, out: Uint8Array): void {
    assert(first + count <= this.counts.heldOutTokens, "held-out samples that exist");
    this.rows.heldOut.read(first, count, out.subarray(0, count * this.layout.recordBytes));
  }

  readMagnitudes(first: number, out: Float32Array): void {
    assert(first + out.length <= this.counts.heldOutActive, "magnitudes that exist");
    this.rows.magnitudes.read(first, out.length, new Uint8Array(out.buffer, out.byteOffset, out.byteLength));
  }
}
