/** What an FFN makes of the sums of a neuron, and which neurons count as active. */

/**
 * f of act = f(up · x), or in a gated FFN of act = f(gate · x) · g(up · x):
 *
 * `relu` max(x, 0); `relu2` its square; `fatrelu` x where it is above a threshold, else 0; `silu` x · σ(x); `gelu` x · Φ(x), with the error
 * function; `gelu-tanh` its approximation ½x · (1 + tanh(√(2/π) · (x + 0.044715 x³))).
 */
export type Activation = "relu" | "relu2" | "fatrelu" | "silu" | "gelu" | "gelu-tanh";

/** Every {@link Activation}. */
export const ACTIVATIONS: readonly Activation[] = ["relu", "relu2", "fatrelu", "silu", "gelu", "gelu-tanh"];

/** An FFN's f and g, as ops take them. */
export interface ActivationFunction {
  readonly kind: Activation;
  /** Of `fatrelu`: what is not above it becomes zero. Rounded to f32. 0 for every other kind. */
  readonly threshold: number;
  /** g, of gated neurons only: the up projection as it is, or `relu` of it (dReLU has it on both sides). */
  readonly up: "none" | "relu";
}

/** The function of an FFN without a gate, or of one whose gate meets the up projection as it is. */
export function activationFunction(kind: Activation, threshold = 0): ActivationFunction {
  return { kind, threshold, up: "none" };
}

/** Whether f makes exact zeros, so that neurons can be left out of a token without a change. */
export function leavesZeros(kind: Activation): boolean {
  return kind === "relu" || kind === "relu2" || kind === "fatrelu";
}

/** Whether a neuron of this activation adds anything to its FFN's output. Gated activations may be negative, or -0. */
export function isActive(value: number): boolean {
  return value !== 0;
}
