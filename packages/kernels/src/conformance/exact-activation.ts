/** The activation functions in double precision, and how far from them a backend may be. */
import { type Activation, type ActivationFunction, SWIGLU_ALPHA, SWIGLU_LIMIT } from "@flashwick/core";
import { erf } from "../reference/activation.js";
import { SMOOTH_ERROR, UNIT_ROUNDOFF } from "./tolerance.js";

/** In the middle of what small cases sum up to. */
export const FATRELU_THRESHOLD = 0.5;

/** Activations that a case asks for, with g of gated neurons. */
export function functionOf(kind: Activation, up: ActivationFunction["up"] = "none"): ActivationFunction {
  return { kind, threshold: kind === "fatrelu" ? FATRELU_THRESHOLD : 0, up };
}

export function exactActivation(x: number, { kind, threshold }: ActivationFunction): number {
  switch (kind) {
    case "relu":
      return Math.max(x, 0);
    case "relu2":
      return Math.max(x, 0) ** 2;
    case "fatrelu":
      return x > threshold ? x : 0;
    case "silu":
      return x / (1 + Math.exp(-x));
    case "gelu":
      return 0.5 * x * (1 + erf(x * Math.SQRT1_2));
    case "gelu-tanh":
      return 0.5 * x * (1 + Math.tanh(0.7978845608028654 * (x + 0.044715 * x ** 3)));
    case "swiglu-clamped":
      return Math.min(x, SWIGLU_LIMIT) / (1 + Math.exp(-SWIGLU_ALPHA * Math.min(x, SWIGLU_LIMIT)));
  }
}

/** g of gated neurons. */
export function exactFactor(x: number, { kind, up }: ActivationFunction): number {
  if (kind === "swiglu-clamped") return 1 + Math.max(-SWIGLU_LIMIT, Math.min(x, SWIGLU_LIMIT));
  return up === "relu" ? Math.max(x, 0) : x;
}

/** Roundings between f and g and their product: the product's, and that of a sum in g. */
export function gateRoundings(kind: Activation): number {
  return kind === "swiglu-clamped" ? 2 : 1;
}

/** What f(x) may be off by where x is off by `bound`. */
export function activationBound(x: number, bound: number, { kind, threshold }: ActivationFunction): number {
  switch (kind) {
    case "relu":
      return bound;
    case "relu2":
      return (2 * Math.abs(x) + bound) * bound + UNIT_ROUNDOFF * (Math.abs(x) + bound) ** 2;
    case "fatrelu":
      return Math.abs(x - threshold) < bound ? Math.abs(x) + bound : bound;
    case "swiglu-clamped":
      // Its slope is at most 1.1, and nothing depends on how far above the limit x is.
      return 1.13 * bound + Math.abs(Math.min(x, SWIGLU_LIMIT)) * SMOOTH_ERROR;
    default:
      // The steepest slope of the smooth ones is 1.13.
      return 1.13 * bound + Math.abs(x) * SMOOTH_ERROR;
  }
}

/** In words: what f adds to the error of its sum; empty for nothing. */
export function activationError(kind: Activation): string {
  if (kind === "relu" || kind === "fatrelu") return "";
  return kind === "relu2" ? "x²·2^-24" : "|x|·2^-20";
}
