/** The activation functions of the FFN, in double precision, rounded once. */
import type { Activation } from "@flashwick/core";

/** relu, or gelu(x) = x · Φ(x), the exact form with the error function. NaN stays NaN. */
export function activate(x: number, activation: Activation): number {
  return activation === "relu" ? Math.max(x, 0) : Math.fround(0.5 * x * (1 + erf(x * Math.SQRT1_2)));
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
