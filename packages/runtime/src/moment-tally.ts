/**
 * Second moments of what a layer's FFN sees of a text: of its input, and of the activations that meet its down
 * projection. Conversions make up for their losses by them (docs/decisions/0043).
 */
import type { ModelGeometry } from "@flashwick/core";
import { type LayerMoments, triangleLength } from "@flashwick/flash-format";
import type { OnStretch } from "./stretch-observer.js";

/** Sums over the tokens of a text. */
export class MomentTally {
  readonly #dModel: number;
  readonly #inputs: readonly Float64Array[];
  readonly #activations: readonly TriangleOfSparse[];
  /** f64 `[dModel, nTokens]` of the current batch. */
  #columns = new Float64Array(0);

  /** Memory: eight bytes an element of the lower triangles, `[dModel, dModel]` and `[dFf, dFf]` of each layer. */
  constructor({ dModel, layers }: Pick<ModelGeometry, "dModel" | "layers">) {
    this.#dModel = dModel;
    this.#inputs = layers.map(() => new Float64Array(triangleLength(dModel)));
    this.#activations = layers.map(({ ffn }) => new TriangleOfSparse(ffn.dFf));
  }

  /**
   * @param x f32 `[nTokens, rowLength]`, the first `dModel` elements of each row.
   * Cost: nTokens · dModel² / 2 multiplications.
   */
  addInputs(layer: number, x: Float32Array, nTokens: number, rowLength: number): void {
    const columns = this.#transposed(x, nTokens, rowLength);
    const sums = this.#inputs[layer]!;
    for (let i = 0, at = 0; i < this.#dModel; i++) {
      const a = columns.subarray(i * nTokens, (i + 1) * nTokens);
      for (let j = 0; j <= i; j++, at++) {
        const begin = j * nTokens;
        let sum = 0;
        for (let t = 0; t < nTokens; t++) sum += a[t]! * columns[begin + t]!;
        sums[at] = sums[at]! + sum;
      }
    }
  }

  /** Stretches of a layer come in ascending order, the same tokens in each. */
  readonly onStretch: OnStretch = (layer, first, count, nTokens, act, rowLength) => {
    this.#activations[layer]!.add(first, count, nTokens, act, rowLength);
  };

  /** Means over `tokens` tokens. */
  moments(tokens: number): LayerMoments[] {
    const mean = (sums: Float64Array) => Float32Array.from(sums, (sum) => sum / tokens);
    return this.#inputs.map((input, layer) => ({
      input: mean(input),
      activation: mean(this.#activations[layer]!.sums),
    }));
  }

  #transposed(x: Float32Array, nTokens: number, rowLength: number): Float64Array {
    const length = this.#dModel * nTokens;
    if (this.#columns.length < length) this.#columns = new Float64Array(length);
    for (let t = 0; t < nTokens; t++) {
      for (let i = 0; i < this.#dModel; i++) this.#columns[i * nTokens + t] = x[t * rowLength + i]!;
    }
    return this.#columns;
  }
}

/** Σ a · aᵀ of vectors that are mostly zero, as a lower triangle. */
class TriangleOfSparse {
  readonly sums: Float64Array;
  readonly #dFf: number;
  /** By token of the current batch: neurons that are not zero, ascending, and their activations. */
  #neurons: number[][] = [];
  #values: number[][] = [];

  constructor(dFf: number) {
    this.#dFf = dFf;
    this.sums = new Float64Array(triangleLength(dFf));
  }

  /** Cost: for each token half the square of how many neurons fire, once the last stretch is there. */
  add(first: number, count: number, nTokens: number, act: Float32Array, rowLength: number): void {
    if (first === 0) {
      this.#neurons = Array.from({ length: nTokens }, () => []);
      this.#values = Array.from({ length: nTokens }, () => []);
    }
    for (let t = 0; t < nTokens; t++) {
      for (let i = 0; i < count; i++) {
        const value = act[t * rowLength + i]!;
        if (value === 0) continue;
        this.#neurons[t]!.push(first + i);
        this.#values[t]!.push(value);
      }
    }
    if (first + count === this.#dFf) for (let t = 0; t < nTokens; t++) this.#addToken(t);
  }

  #addToken(t: number): void {
    const [neurons, values] = [this.#neurons[t]!, this.#values[t]!];
    for (let i = 0; i < neurons.length; i++) {
      const row = triangleLength(neurons[i]!);
      const value = values[i]!;
      for (let j = 0; j <= i; j++) {
        const at = row + neurons[j]!;
        this.sums[at] = this.sums[at]! + value * values[j]!;
      }
    }
  }
}
