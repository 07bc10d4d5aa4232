/**
 * Measures calibration curves: runs a predictor, as it will be stored and by the kernels that will run it, over a layer's
 * held-out samples.
 */
import { assert, InputError, type PredictorLayer, paddedLength } from "@flashwick/core";
import { Arena, type KernelFactory, type Ptr, type TrainingKernels } from "@flashwick/kernels";
import { type NamingScratch, namingScratchBytes, scoreNeurons } from "../neuron-naming.js";
import { placedPredictorBytes, placePredictor } from "../placed-predictor.js";
import { binOfScore, type CalibrationCurve, CURVE_BINS } from "./calibration-curve.js";
import type { LayerSamples } from "./sample-store.js";

/** Tokens scored at once: enough for matrix kernels, few enough that the scores stay in the cache. */
const BATCH_TOKENS = 64;

/** A layer's matrices without its quality, which is what is to be measured. */
export type UncalibratedLayer = Pick<PredictorLayer, "layer" | "rank" | "w1" | "w2">;

/** The sums of a curve in the making. */
interface CurveSums {
  readonly counts: Float64Array;
  readonly hits: Float64Array;
  readonly hitMass: Float64Array;
  mass: number;
  active: number;
}

/** One layer's meter; reusable for predictors of one rank and dtype. */
export class CurveMeter {
  readonly #kernels: TrainingKernels;
  readonly #tokens: number;
  readonly #records: Ptr;
  readonly #x: Ptr;
  readonly #scratch: NamingScratch;

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
    const shape = { rank: example.rank, dModel: layout.dModel, dFf: layout.dFf };
    const scratch = namingScratchBytes(factory, shape, BATCH_TOKENS);
    const recordBytes = BATCH_TOKENS * layout.recordBytes;
    const xBytes = 4 * BATCH_TOKENS * paddedLength(layout.dModel);
    const scratchBytes = scratch.hidden + scratch.scores + scratch.kernel;
    this.#kernels = factory(new Arena(placedPredictorBytes(example) + recordBytes + xBytes + scratchBytes));
    const { arena } = this.#kernels;
    this.#records = arena.allocate(recordBytes);
    this.#x = arena.allocate(xBytes);
    this.#scratch = {
      hidden: arena.allocate(scratch.hidden),
      scores: arena.allocate(scratch.scores),
      kernel: arena.allocate(scratch.kernel),
    };
  }

  /**
   * The curve of a predictor. Its threshold plays no part.
   *
   * Cost: `2 · rank · (dModel + dFf)` FLOP and one histogram entry a neuron, for each held-out token.
   */
  measure(layer: UncalibratedLayer): CalibrationCurve {
    const { arena } = this.#kernels;
    const mark = arena.mark();
    const placed = placePredictor(arena, { ...layer, ...NO_QUALITY });
    const sums: CurveSums = {
      counts: new Float64Array(CURVE_BINS),
      hits: new Float64Array(CURVE_BINS),
      hitMass: new Float64Array(CURVE_BINS),
      mass: 0,
      active: 0,
    };
    for (let first = 0; first < this.#tokens; first += BATCH_TOKENS) {
      const count = Math.min(BATCH_TOKENS, this.#tokens - first);
      this.#load(first, count);
      scoreNeurons(this.#kernels, placed, this.#x, count, this.#scratch);
      this.#tally(sums, count);
    }
    arena.rewind(mark);
    return { tokens: this.#tokens, dFf: this.samples.layout.dFf, ...sums };
  }

  #load(first: number, count: number): void {
    const { recordBytes, dModel } = this.samples.layout;
    this.samples.readHeldOut(first, count, this.#kernels.arena.u8(this.#records, count * recordBytes));
    const rowBytes = 4 * paddedLength(dModel);
    for (let t = 0; t < count; t++) {
      this.#kernels.decodeF16(this.#x + t * rowBytes, this.#records + t * recordBytes, dModel);
    }
  }

  #tally(sums: CurveSums, count: number): void {
    const { recordBytes, activeOffset, activeBytes, dFf } = this.samples.layout;
    const { arena } = this.#kernels;
    const rowLength = paddedLength(dFf);
    for (let t = 0; t < count; t++) {
      const scores = arena.f32(this.#scratch.scores + 4 * t * rowLength, dFf);
      for (let j = 0; j < dFf; j++) sums.counts[binOfScore(scores[j]!)]!++;
      this.#tallyActive(sums, scores, arena.u8(this.#records + t * recordBytes + activeOffset, activeBytes));
    }
  }

  #tallyActive(sums: CurveSums, scores: Float32Array, bits: Uint8Array): void {
    const neurons = neuronsOfBits(bits);
    const magnitudes = new Float32Array(neurons.length);
    this.samples.readMagnitudes(sums.active, magnitudes);
    for (let i = 0; i < neurons.length; i++) {
      const neuron = neurons[i]!;
      const bin = binOfScore(scores[neuron]!);
      const mass = Math.abs(magnitudes[i]!) * this.downNorms[neuron]!;
      sums.hits[bin]!++;
      sums.hitMass[bin]! += mass;
      sums.mass += mass;
    }
    sums.active += neurons.length;
  }
}

const NO_QUALITY = { threshold: 0, trueActiveShare: 0, namedShare: 0, recall: 0, precision: 0, missedMass: 0 };

/** The set bits, ascending. */
function neuronsOfBits(bits: Uint8Array): number[] {
  const neurons: number[] = [];
  for (let byte = 0; byte < bits.length; byte++) {
    for (let rest = bits[byte]!; rest !== 0; rest &= rest - 1) neurons.push(8 * byte + 31 - Math.clz32(rest & -rest));
  }
  return neurons;
}
