/** Scores samples with a predictor, as it will be stored and by the kernels that will run it. */
import { assert, type PredictorLayer, paddedLength } from "@flashwick/core";
import { Arena, type KernelFactory, type Ptr, type ScratchSizes, type TrainingKernels } from "@flashwick/kernels";
import { type NamingScratch, namingScratchBytes, scoreNeurons } from "../neuron-naming.js";
import { type PlacedPredictor, placedPredictorBytes, placePredictor } from "../placed-predictor.js";
import type { SampleLayout } from "./sample-layout.js";

/** Tokens scored at once: enough for matrix kernels, few enough that the scores stay in the cache. */
const BATCH_TOKENS = 64;

/** A layer's matrices without its quality, which is what is to be measured. */
export type UncalibratedLayer = Pick<PredictorLayer, "layer" | "rank" | "w1" | "w2">;

/** What sizes depend on. */
type LayerShape = Pick<UncalibratedLayer, "rank"> & Parameters<typeof placedPredictorBytes>[0];

/** Fills `out` with `count` records from `first`. */
export type ReadRecords = (first: number, count: number, out: Uint8Array) => void;

/** Sees one token: its scores, f32 `[dFf]`, and one bit a neuron, whether it was active. Views, valid during the call. */
export type OnScores = (scores: Float32Array, active: Uint8Array) => void;

interface ScorerBytes {
  readonly predictor: number;
  readonly records: number;
  readonly x: number;
  readonly scratch: { readonly [name in keyof NamingScratch]: number };
}

/** Bytes of arena that a scorer of these predictors takes. */
export function scorerBytes(sizes: ScratchSizes, layout: SampleLayout, predictors: readonly LayerShape[]): number {
  const { predictor, records, x, scratch } = planScorer(sizes, layout, predictors);
  return predictor + records + x + scratch.hidden + scratch.scores + scratch.kernel;
}

/** One predictor is placed at a time, in room for the largest of those that were announced. */
export class SampleScorer {
  readonly #kernels: TrainingKernels;
  readonly #records: Ptr;
  readonly #x: Ptr;
  readonly #scratch: NamingScratch;

  constructor(
    factory: KernelFactory,
    private readonly layout: SampleLayout,
    predictors: readonly LayerShape[],
  ) {
    const { records, x, scratch } = planScorer(factory, layout, predictors);
    this.#kernels = factory(new Arena(scorerBytes(factory, layout, predictors)));
    const { arena } = this.#kernels;
    this.#records = arena.allocate(records);
    this.#x = arena.allocate(x);
    this.#scratch = {
      hidden: arena.allocate(scratch.hidden),
      scores: arena.allocate(scratch.scores),
      kernel: arena.allocate(scratch.kernel),
    };
  }

  /**
   * Scores every neuron for each of `tokens` records. The predictor's threshold plays no part.
   *
   * Cost: `2 · rank · (dModel + dFf)` FLOP a token, and a copy of the predictor.
   */
  score(predictor: UncalibratedLayer, tokens: number, readRecords: ReadRecords, onScores: OnScores): void {
    const { arena } = this.#kernels;
    const mark = arena.mark();
    const placed = placePredictor(arena, { ...predictor, ...NO_QUALITY });
    for (let first = 0; first < tokens; first += BATCH_TOKENS) {
      const count = Math.min(BATCH_TOKENS, tokens - first);
      readRecords(first, count, arena.u8(this.#records, count * this.layout.recordBytes));
      this.#scoreBatch(placed, count, onScores);
    }
    arena.rewind(mark);
  }

  #scoreBatch(placed: PlacedPredictor, count: number, onScores: OnScores): void {
    const { recordBytes, activeOffset, activeBytes, dModel, dFf } = this.layout;
    const { arena } = this.#kernels;
    const rowBytes = 4 * paddedLength(dModel);
    for (let t = 0; t < count; t++) {
      this.#kernels.decodeF16(this.#x + t * rowBytes, this.#records + t * recordBytes, dModel);
    }
    scoreNeurons(this.#kernels, placed, this.#x, count, this.#scratch);
    const rowLength = paddedLength(dFf);
    for (let t = 0; t < count; t++) {
      const scores = arena.f32(this.#scratch.scores + 4 * t * rowLength, dFf);
      onScores(scores, arena.u8(this.#records + t * recordBytes + activeOffset, activeBytes));
    }
  }
}

const NO_QUALITY = { threshold: 0, trueActiveShare: 0, namedShare: 0, recall: 0, precision: 0, missedMass: 0 };

function planScorer(sizes: ScratchSizes, layout: SampleLayout, predictors: readonly LayerShape[]): ScorerBytes {
  assert(predictors.length > 0, "at least one predictor is announced");
  const rank = Math.max(...predictors.map((predictor) => predictor.rank));
  return {
    predictor: Math.max(...predictors.map(placedPredictorBytes)),
    records: BATCH_TOKENS * layout.recordBytes,
    x: 4 * BATCH_TOKENS * paddedLength(layout.dModel),
    scratch: namingScratchBytes(sizes, { rank, dModel: layout.dModel, dFf: layout.dFf }, BATCH_TOKENS),
  };
}
