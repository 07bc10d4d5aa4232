/** What an FFN makes of the sums of a neuron, and which neurons count as active. */
import { assert } from "./assert.js";

/**
 * f of act = f(up · x), or in a gated FFN of act = f(gate · x) · g(up · x):
 *
 * `relu` max(x, 0); `relu2` its square; `fatrelu` x where it is above a threshold, else 0; `silu` x · σ(x); `gelu` x · Φ(x), with the error
 * function; `gelu-tanh` its approximation ½x · (1 + tanh(√(2/π) · (x + 0.044715 x³))).
 *
 * `swiglu-clamped` is gpt-oss's, and needs a gate, since it has a g of its own: f = c · σ({@link SWIGLU_ALPHA} · c) of c = min(gate, 7), and
 * g = 1 + min(max(up, −7), 7), with 7 the {@link SWIGLU_LIMIT}. The gate has no lower limit.
 */
export type Activation = "relu" | "relu2" | "fatrelu" | "silu" | "gelu" | "gelu-tanh" | "swiglu-clamped";

/** Every {@link Activation}. */
export const ACTIVATIONS: readonly Activation[] = [
  "relu",
  "relu2",
  "fatrelu",
  "silu",
  "gelu",
  "gelu-tanh",
  "swiglu-clamped",
];

/** Where `swiglu-clamped` cuts gate and up off. Fixed in transformers' gpt-oss, as is {@link SWIGLU_ALPHA}. */
export const SWIGLU_LIMIT = 7;

/** What `swiglu-clamped` multiplies the gate with inside σ: x · σ(1.702 x) approximates GELU (Hendrycks and Gimpel, 2016). */
export const SWIGLU_ALPHA = 1.702;

/** An FFN's f and g, as ops take them. */
export interface ActivationFunction {
  readonly kind: Activation;
  /** Of `fatrelu`: what is not above it becomes zero. Rounded to f32. 0 for every other kind. */
  readonly threshold: number;
  /** g, of gated neurons only: the up projection as it is, or `relu` of it (dReLU has it on both sides). `none` beside `swiglu-clamped`. */
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

/** Whether f stands beside a g of its own, so that only gated neurons can have it. */
export function needsGate(kind: Activation): boolean {
  return kind === "swiglu-clamped";
}

/** Fails where an op is asked for a function that its neurons cannot have. */
export function assertActivation({ kind, up }: ActivationFunction, gated: boolean): void {
  assert(!needsGate(kind) || (gated && up === "none"), `${kind} is of gated neurons, and brings its own g`);
}

/** Whether a neuron of this activation adds anything to its FFN's output. Gated activations may be negative, or -0. */
export function isActive(value: number): boolean {
  return value !== 0;
}
