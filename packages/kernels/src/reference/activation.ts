/** The activation functions of the FFN, in double precision, rounded once. */
import { type ActivationFunction, SWIGLU_ALPHA, SWIGLU_LIMIT } from "@flashwick/core";

/** f of core's `ActivationFunction`. NaN stays NaN. */
export function activate(x: number, { kind, threshold }: ActivationFunction): number {
  switch (kind) {
    case "relu":
      return Math.max(x, 0);
    case "relu2":
      return Math.fround(Math.max(x, 0) * Math.max(x, 0));
    case "fatrelu":
      return x <= Math.fround(threshold) ? 0 : x;
    case "silu":
      return Math.fround(x / (1 + Math.exp(-x)));
    case "gelu":
      return Math.fround(0.5 * x * (1 + erf(x * Math.SQRT1_2)));
    case "gelu-tanh":
      return Math.fround(0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))));
    case "swiglu-clamped": {
      const clamped = Math.min(x, SWIGLU_LIMIT);
      return Math.fround(clamped / (1 + Math.exp(-SWIGLU_ALPHA * clamped)));
    }
  }
}

/** f(gate) · g(up), rounded after f, after g and after the product. */
export function activateGated(gate: number, up: number, activation: ActivationFunction): number {
  return Math.fround(activate(gate, activation) * factorOf(up, activation));
}

/** g(up). NaN stays NaN. */
function factorOf(x: number, { kind, up }: ActivationFunction): number {
  if (kind === "swiglu-clamped") return Math.fround(Math.max(Math.min(x, SWIGLU_LIMIT), -SWIGLU_LIMIT) + 1);
  return up === "relu" ? Math.max(x, 0) : x;
}

/**
 * erf(x) = 2/√π · e^(−x²) · Σ_n 2^n · x^(2n+1) / (1·3·5·…·(2n+1))          Abramowitz and Stegun, 7.1.6
 * All terms have one sign, so nothing cancels. Beyond 6, erf is ±1 in double precision.
 */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
