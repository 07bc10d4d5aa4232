/**
 * Turns what an engine shows of one layer (the FFN's input, then its activations, a stretch of neurons at a time) into a
 * sample batch. One recorder serves all layers, one after the other.
 *
 *     recorder.begin(nTokens, heldOut); recorder.input(…); recorder.activations(…) …; store.append(layer, recorder.end());
 */
import { assert, encodeFloat16, isActive } from "@flashwick/core";
import { planSampleLayout, type SampleLayout } from "./sample-layout.js";
import type { SampleBatch, SampleShape } from "./sample-store.js";

/** The largest finite f16; larger inputs are stored as this. */
const FLOAT16_MOST = 65504;

/** Bytes that a recorder of batches of `maxTokens` takes, with the magnitudes of one batch in which every neuron is active. */
export function recorderBytes({ dModel, dFf }: SampleShape, maxTokens: number): number {
  return maxTokens * (planSampleLayout(dModel, dFf).recordBytes + 2 * 4 * dFf);
}

/** Turns the activations of a batch into samples to train on. */
export class BatchRecorder {
  readonly #layout: SampleLayout;
  readonly #records: Uint8Array<ArrayBuffer>;
  readonly #halves: Uint16Array;
  /** Of activations, `[maxTokens, dFf]`, filled for held-out tokens only. */
  readonly #magnitudes: Float32Array;
  #nTokens = 0;
  #heldOut = false;
  #active = 0;

  /** @param maxTokens Tokens of the largest batch. */
  constructor(
    shape: SampleShape,
    private readonly maxTokens: number,
  ) {
    this.#layout = planSampleLayout(shape.dModel, shape.dFf);
    this.#records = new Uint8Array(maxTokens * this.#layout.recordBytes);
    this.#halves = new Uint16Array(this.#records.buffer);
    this.#magnitudes = new Float32Array(maxTokens * shape.dFf);
  }

  /** A batch of so many tokens of one document begins. */
  begin(nTokens: number, heldOut: boolean): void {
    assert(nTokens <= this.maxTokens, `a batch of ${nTokens} tokens, at most ${this.maxTokens}`);
    this.#nTokens = nTokens;
    this.#heldOut = heldOut;
    this.#active = 0;
    this.#records.fill(0, 0, nTokens * this.#layout.recordBytes);
    if (heldOut) this.#magnitudes.fill(0, 0, nTokens * this.#layout.dFf);
  }

  /**
   * The FFN's input.
   *
   * @param x f32 `[nTokens, rowLength]`, of each row the first dModel. Stored as f16; beyond its range, as its largest.
   */
  input(x: Float32Array, rowLength: number): void {
    const { dModel, recordBytes } = this.#layout;
    for (let t = 0; t < this.#nTokens; t++) {
      const to = (t * recordBytes) >> 1;
      const from = t * rowLength;
      for (let i = 0; i < dModel; i++) {
        const value = x[from + i]!;
        this.#halves[to + i] = encodeFloat16(Math.max(-FLOAT16_MOST, Math.min(FLOAT16_MOST, value)));
      }
    }
  }

  /**
   * Activations of neurons `first … first + count − 1`, each neuron once.
   *
   * @param act f32 `[nTokens, rowLength]`, of each row the first `count`. Active is what is not zero.
   */
  activations(first: number, count: number, act: Float32Array, rowLength: number): void {
    const { dFf, recordBytes, activeOffset } = this.#layout;
    for (let t = 0; t < this.#nTokens; t++) {
      const bits = t * recordBytes + activeOffset;
      for (let i = 0; i < count; i++) {
        const value = act[t * rowLength + i]!;
        if (!isActive(value)) continue;
        const neuron = first + i;
        this.#records[bits + (neuron >> 3)]! |= 1 << (neuron & 7);
        this.#active++;
        if (this.#heldOut) this.#magnitudes[t * dFf + neuron] = Math.abs(value);
      }
    }
  }

  /** The batch. Its records are the recorder's own and last until the next `begin`. */
  end(): SampleBatch {
    return {
      heldOut: this.#heldOut,
      nTokens: this.#nTokens,
      records: this.#records.subarray(0, this.#nTokens * this.#layout.recordBytes),
      magnitudes: this.#heldOut ? this.#gatherMagnitudes() : new Float32Array(0),
      active: this.#active,
    };
  }

  #gatherMagnitudes(): Float32Array {
    const magnitudes = new Float32Array(this.#active);
    let n = 0;
    for (const value of this.#magnitudes.subarray(0, this.#nTokens * this.#layout.dFf)) {
      if (isActive(value)) magnitudes[n++] = value;
    }
    return magnitudes;
  }
}
