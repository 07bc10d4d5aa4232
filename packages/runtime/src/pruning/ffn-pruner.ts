/**
 * What a token leaves out of an FFN none of whose activations is zero (decision 0040). There are two stages:
 *
 *     h = f(gate[:, I] · x_I) ⊙ g(up[:, I] · x_I)       I: elements of the input, columns of gate and up
 *     y = down[:, J] · h_J                              J: neurons, columns of down
 */
import type { ChosenUnits } from "./chosen-units.js";

/** Names both sets for each token, layer by layer. Rows of a step are asked about in their order, first all inputs and then all outputs. */
export interface FfnPruner {
  /** True: `outputs` looks at f(gate · x) in place of the activations, where there is a gate. */
  readonly seesGates: boolean;
  /**
   * I. What is returned stays unchanged.
   *
   * @param x f32 `[dModel]`, the FFN's input of one token; valid during the call.
   */
  inputs(layer: number, x: Float32Array): ChosenUnits;
  /**
   * J. What is returned stays unchanged.
   *
   * @param activations f32 `[dFf]`, h of one token, or f(gate · x); valid during the call.
   */
  outputs(layer: number, activations: Float32Array): ChosenUnits;
}
