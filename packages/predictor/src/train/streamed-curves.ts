/**
 * Calibration curves measured while a text is recorded: each batch of held-out samples is scored and forgotten. Where samples of all
 * layers would take gigabytes (16 thousand tokens of OPT 6.7B: seven), this takes a histogram a layer and predictor.
 *
 * Invariant: the curves are those of a {@link CurveMeter} over the same samples, bit for bit.
 */
import { assert } from "@flashwick/core";
import type { KernelFactory, ScratchSizes } from "@flashwick/kernels";
import { type CalibrationCurve, CURVE_BINS } from "./calibration-curve.js";
import { CurveSums } from "./curve-sums.js";
import { planSampleLayout, type SampleLayout } from "./sample-layout.js";
import { SampleScorer, scorerBytes, type UncalibratedLayer } from "./sample-scorer.js";
import type { SampleBatch, SampleShape, SampleSink } from "./sample-store.js";

/** Predictors to be measured side by side: `layers[l]` of each is layer l's. */
export interface PredictorToMeasure {
  readonly layers: readonly UncalibratedLayer[];
}

/** Measures curves while a text is recorded, and keeps no samples. */
export class StreamedCurves implements SampleSink {
  readonly #layout: SampleLayout;
  readonly #scorer: SampleScorer;
  /** `[layer][predictor]`. */
  readonly #sums: readonly (readonly CurveSums[])[];
  #nextDocument = 0;

  /** @param downNorms ‖down column‖ of every neuron, `[dFf]` by layer. */
  constructor(
    factory: KernelFactory,
    shape: SampleShape,
    private readonly predictors: readonly PredictorToMeasure[],
    downNorms: readonly ArrayLike<number>[],
  ) {
    assert(downNorms.length === shape.nLayers, "down norms of every layer");
    this.#layout = planSampleLayout(shape.dModel, shape.dFf);
    this.#scorer = new SampleScorer(factory, this.#layout, everyLayer(predictors));
    this.#sums = downNorms.map((norms) => predictors.map(() => new CurveSums(norms)));
  }

  get nextDocument(): number {
    return this.#nextDocument;
  }

  /** Counts the samples of a batch. */
  append(layer: number, { heldOut, nTokens, records, magnitudes }: SampleBatch): void {
    assert(heldOut, "curves are measured on held-out samples");
    const { recordBytes } = this.#layout;
    for (const [p, { layers }] of this.predictors.entries()) {
      const sums = this.#sums[layer]![p]!;
      const before = sums.active;
      this.#scorer.score(
        layers[layer]!,
        nTokens,
        (first, count, out) => out.set(records.subarray(first * recordBytes, (first + count) * recordBytes)),
        (scores, active) =>
          sums.add(scores, active, (first, out) => {
            out.set(magnitudes.subarray(first - before, first - before + out.length));
          }),
      );
    }
  }

  commit(nextDocument: number): void {
    this.#nextDocument = nextDocument;
  }

  /** One for each predictor, in their order. */
  layer(layer: number): CalibrationCurve[] {
    return this.#sums[layer]!.map((sums) => sums.curve());
  }
}

/** Bytes that the curves of so many layers take, with the scorer's arena. */
export function streamedCurvesBytes(
  sizes: ScratchSizes,
  shape: SampleShape,
  predictors: readonly PredictorToMeasure[],
): number {
  const histograms = shape.nLayers * predictors.length * 3 * CURVE_BINS * Float64Array.BYTES_PER_ELEMENT;
  return histograms + scorerBytes(sizes, planSampleLayout(shape.dModel, shape.dFf), everyLayer(predictors));
}

function everyLayer(predictors: readonly PredictorToMeasure[]): UncalibratedLayer[] {
  return predictors.flatMap(({ layers }) => [...layers]);
}
