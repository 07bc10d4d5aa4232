/** A calibration curve in the making: what scores and truth of one token after the other add up to. */
import { binOfScore, type CalibrationCurve, CURVE_BINS } from "./calibration-curve.js";

/** Fills `out` with the magnitudes of active neurons from the `first`-th of all tokens on. */
export type ReadMagnitudes = (first: number, out: Float32Array) => void;

export class CurveSums {
  readonly #counts = new Float64Array(CURVE_BINS);
  readonly #hits = new Float64Array(CURVE_BINS);
  readonly #hitMass = new Float64Array(CURVE_BINS);
  #tokens = 0;
  #mass = 0;
  #active = 0;

  /** @param downNorms ‖down column‖ of every neuron, `[dFf]`. */
  constructor(private readonly downNorms: ArrayLike<number>) {}

  /** Active neurons of the tokens so far. */
  get active(): number {
    return this.#active;
  }

  /**
   * Adds a token. Sums are made in the order of tokens and neurons, so how tokens were batched does not show.
   *
   * @param scores f32 `[dFf]`.
   * @param bits   One a neuron: whether it was active (sample-layout.ts).
   */
  add(scores: Float32Array, bits: Uint8Array, readMagnitudes: ReadMagnitudes): void {
    for (let j = 0; j < scores.length; j++) this.#counts[binOfScore(scores[j]!)]!++;
    const neurons = neuronsOfBits(bits);
    const magnitudes = new Float32Array(neurons.length);
    readMagnitudes(this.#active, magnitudes);
    for (let i = 0; i < neurons.length; i++) {
      const neuron = neurons[i]!;
      const bin = binOfScore(scores[neuron]!);
      const mass = Math.abs(magnitudes[i]!) * this.downNorms[neuron]!;
      this.#hits[bin]!++;
      this.#hitMass[bin]! += mass;
      this.#mass += mass;
    }
    this.#active += neurons.length;
    this.#tokens++;
  }

  /** The curve so far; it shares its arrays with these sums. */
  curve(): CalibrationCurve {
    return {
      tokens: this.#tokens,
      dFf: this.downNorms.length,
      counts: this.#counts,
      hits: this.#hits,
      hitMass: this.#hitMass,
      mass: this.#mass,
      active: this.#active,
    };
  }
}

/** The set bits, ascending. */
function neuronsOfBits(bits: Uint8Array): number[] {
  const neurons: number[] = [];
  for (let byte = 0; byte < bits.length; byte++) {
    for (let rest = bits[byte]!; rest !== 0; rest &= rest - 1) neurons.push(8 * byte + 31 - Math.clz32(rest & -rest));
  }
  return neurons;
}
