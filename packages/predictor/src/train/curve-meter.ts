/**
 * Measures calibration curves: runs a predictor, as it will be stored and by the kernels that will run it, over a layer's
 * held-out samples.
 */
import { assert, InputError } from "@flashwick/core";
import type { KernelFactory } from "@flashwick/kernels";
import type { CalibrationCurve } from "./calibration-curve.js";
import { CurveSums } from "./curve-sums.js";
import { SampleScorer, type UncalibratedLayer } from "./sample-scorer.js";
import type { LayerSamples } from "./sample-store.js";

/** One layer's meter; reusable for predictors no larger than the one it was made for. */
export class CurveMeter {
  readonly #tokens: number;
  readonly #scorer: SampleScorer;

  /**
   * @param downNorms ‖down column‖ of every neuron, `[dFf]`.
   * @param maxTokens Held-out tokens to use at most, from the first.
   * @throws {InputError} `INPUT_INVALID` if there are no held-out samples.
   */
  constructor(
    factory: KernelFactory,
    private readonly samples: LayerSamples,
    private readonly downNorms: ArrayLike<number>,
    example: UncalibratedLayer,
    maxTokens = Number.POSITIVE_INFINITY,
  ) {
    const { layout, counts, layer } = samples;
    assert(downNorms.length === layout.dFf, "one down norm a neuron");
    if (counts.heldOutTokens === 0) {
      throw new InputError("INPUT_INVALID", `layer ${layer}: no held-out samples to calibrate on; record more text`);
    }
    this.#tokens = Math.min(counts.heldOutTokens, maxTokens);
    this.#scorer = new SampleScorer(factory, layout, [example]);
  }

  /**
   * The curve of a predictor. Its threshold plays no part.
   *
   * Cost: `2 · rank · (dModel + dFf)` FLOP and one histogram entry a neuron, for each held-out token.
   */
  measure(layer: UncalibratedLayer): CalibrationCurve {
    const sums = new CurveSums(this.downNorms);
    this.#scorer.score(
      layer,
      this.#tokens,
      (first, count, out) => this.samples.readHeldOut(first, count, out),
      (scores, active) => sums.add(scores, active, (first, out) => this.samples.readMagnitudes(first, out)),
    );
    return sums.curve();
  }
}
