/**
 * What each neuron adds to a text: Σ over tokens of activation² · ‖down column‖², the energy of its summand of the
 * FFN's result. Pruning leaves out the neurons that have least of it. On opt-demo that costs less quality than counting
 * how often neurons fire (docs/decisions/0042).
 */
import type { ModelGeometry } from "@flashwick/core";
import type { OnStretch } from "./stretch-observer.js";

/** Sums over the tokens of a text. */
export class ImportanceTally {
  readonly #squares: readonly Float64Array[];

  /** Memory: eight bytes a neuron. */
  constructor({ layers }: Pick<ModelGeometry, "layers">) {
    this.#squares = layers.map(({ ffn }) => new Float64Array(ffn.dFf));
  }

  readonly onStretch: OnStretch = (layer, first, count, nTokens, act, rowLength) => {
    const squares = this.#squares[layer]!;
    for (let t = 0; t < nTokens; t++) {
      for (let i = 0; i < count; i++) squares[first + i]! += act[t * rowLength + i]! ** 2;
    }
  };

  /**
   * @param downNorms ‖down_i‖₂ of every neuron, by layer.
   * @param dFf Of the widest layer.
   * @returns By layer, f32 `[dFf]`: zeros beyond the layer's own neurons.
   */
  importance(downNorms: readonly Float64Array[], dFf: number): Float32Array[] {
    return this.#squares.map((squares, layer) => {
      return Float32Array.from({ length: dFf }, (_, i) => (squares[i] ?? 0) * (downNorms[layer]![i] ?? 0) ** 2);
    });
  }
}
