/**
 * Training one layer from its samples to weights with a calibration curve; runs inside a worker, and everything in and out
 * but the callbacks is plain data.
 */
import { eventLoopTurn, InputError, type OnProgress } from "@flashwick/core";
import type { KernelFactory, ScratchSizes } from "@flashwick/kernels";
import { predictorBytes } from "../placed-predictor.js";
import { type PredictorDType, quantisePredictorMatrix } from "../predictor-matrix.js";
import { type CalibrationCurve, CURVE_BINS, missedMassAt, recallAt } from "./calibration-curve.js";
import { CurveMeter } from "./curve-meter.js";
import {
  DEFAULT_TRAINER_SETTINGS,
  defaultRoundedEpochs,
  LayerTrainer,
  type PredictorWeights,
  type TrainerSettings,
  type TrainerState,
  trainerBytes,
} from "./layer-trainer.js";
import { planSampleLayout } from "./sample-layout.js";
import { scorerBytes, type UncalibratedLayer } from "./sample-scorer.js";
import type { LayerSamples } from "./sample-store.js";

/** Named ÷ active at which trainings are compared and thresholds are set, unless told otherwise. */
export const DEFAULT_NAMED_PER_ACTIVE = 2;
/** Held-out tokens that a curve is measured on at most: several hundred thousand active neurons. */
const DEFAULT_HELD_OUT_TOKENS = 16384;
/** Work between two turns of the event loop, in which an abort can arrive: at most so many steps, or a tenth of a second. */
const STEPS_PER_TURN = 16;
const FLOP_PER_TURN = 1e9;

/** Rank, epochs, seed and callbacks of one layer's training. */
export interface LayerTrainingOptions extends Partial<TrainerSettings> {
  readonly rank: number;
  /** ‖down column‖ of every neuron of this layer, `[dFf]`. */
  readonly downNorms: ArrayLike<number>;
  /** Named ÷ active at which epochs are compared. */
  readonly namedPerActive?: number;
  /** Epochs without improvement after which training ends. Default: it never does, since most of the gain comes as the rate falls, at the end. */
  readonly patienceEpochs?: number;
  readonly maxHeldOutTokens?: number;
  /** Where to go on from: the last state that `onCheckpoint` gave, with the same samples and options. */
  readonly resume?: LayerTrainingState | null;
  /** Called after every epoch with all that is needed to go on. */
  readonly onCheckpoint?: (state: LayerTrainingState) => void;
  /** Steps of this layer; `detail` has layer, epoch and loss. Throwing ends the training. */
  readonly onProgress?: OnProgress;
  /** Checked at every step; rejects with its reason. */
  readonly signal?: AbortSignal;
}

/**
 * Copies of the weights (f32) that a training holds on the heap when it checkpoints: those that were judged, the best, the trainer's state (weights and
 * two moments), and the state as a caller may write it (the same and the best again, in a buffer that grows by doubling).
 */
const HEAP_COPIES = 1 + 1 + 3 + 2 * 4;

/** Bytes that {@link trainLayer} takes for a predictor of one size, samples apart: two arenas, copies of the weights, and curves. */
export function layerTrainingBytes(
  sizes: ScratchSizes,
  { dModel, dFf }: Pick<TrainedLayer, "dModel" | "dFf">,
  { rank, dtype }: Pick<TrainedLayer, "rank" | "dtype">,
): number {
  const layout = planSampleLayout(dModel, dFf);
  const shape = { rank, w1: { dtype, rows: rank, cols: dModel }, w2: { dtype, rows: dFf, cols: rank } };
  const curves = 4 * 3 * CURVE_BINS * Float64Array.BYTES_PER_ELEMENT;
  const copies = HEAP_COPIES * 4 * rank * (dModel + dFf) + predictorBytes(shape);
  const trainer = trainerBytes(layout, { rank, roundedEpochs: defaultRoundedEpochs(dtype) });
  return trainer + scorerBytes(sizes, layout, [shape]) + copies + curves;
}

/** What one epoch came to. */
export interface EpochReport {
  readonly epoch: number;
  /** Mean loss per neuron and token. */
  readonly loss: number;
  /** On held-out tokens at `namedPerActive`, with the weights as stored. */
  readonly missedMass: number;
  /** Share of the active neurons that are named, on the same tokens at the same number. */
  readonly recall: number;
}

/** The best epoch so far. */
interface BestEpoch {
  readonly epoch: number;
  readonly missedMass: number;
  readonly weights: PredictorWeights;
  readonly curve: CalibrationCurve;
}

/** A training between two epochs; plain data. */
export interface LayerTrainingState {
  readonly trainer: TrainerState;
  readonly best: BestEpoch;
  readonly epochs: readonly EpochReport[];
}

/** A trained layer, to be finished together with the others; plain data. */
export interface TrainedLayer {
  readonly layer: number;
  readonly rank: number;
  readonly dModel: number;
  readonly dFf: number;
  readonly dtype: PredictorDType;
  /** f32, of the best epoch. `curve` was measured on them as stored in `dtype`. */
  readonly weights: PredictorWeights;
  readonly curve: CalibrationCurve;
  readonly epochs: readonly EpochReport[];
  readonly trainTokens: number;
}

/**
 * Trains a layer's predictor and measures its calibration curve.
 *
 * The epoch with the least missed output mass at `namedPerActive`, with the weights as stored, is kept.
 *
 * @throws {InputError} `INPUT_INVALID` for options out of range or missing samples. The signal's reason when aborted.
 * Cost: `2 · rank · (2 · dModel + 3 · dFf)` FLOP a training token and epoch.
 */
export async function trainLayer(
  factory: KernelFactory,
  samples: LayerSamples,
  options: LayerTrainingOptions,
): Promise<TrainedLayer> {
  const settings = settingsOf(options);
  const { dtype } = settings;
  const { patienceEpochs = Number.POSITIVE_INFINITY, resume = null } = options;
  const trainer = new LayerTrainer(factory, samples, settings, resume?.trainer);
  const judge = epochJudge(factory, samples, options, dtype);
  let best = resume?.best ?? null;
  const epochs = [...(resume?.epochs ?? [])];
  const allEpochs = settings.epochs + settings.roundedEpochs;
  while (trainer.epoch < allEpochs && trainer.epoch - (best?.epoch ?? trainer.epoch) < patienceEpochs) {
    const loss = await trainEpoch(trainer, samples.layer, options);
    const epoch = judge(trainer);
    if (best === null || epoch.missedMass < best.missedMass) best = epoch;
    const recall = recallAt(epoch.curve, options.namedPerActive ?? DEFAULT_NAMED_PER_ACTIVE);
    epochs.push({ epoch: epoch.epoch, loss, missedMass: epoch.missedMass, recall });
    options.onCheckpoint?.({ trainer: trainer.state(), best, epochs: [...epochs] });
  }
  if (best === null) throw new InputError("INPUT_INVALID", `layer ${samples.layer}: expected at least one epoch`);
  const { layer, layout, counts } = samples;
  const shape = { layer, rank: settings.rank, dModel: layout.dModel, dFf: layout.dFf };
  const trainTokens = Math.min(counts.trainTokens, settings.maxTokens);
  return { ...shape, dtype, weights: best.weights, curve: best.curve, epochs, trainTokens };
}

function settingsOf(options: LayerTrainingOptions): TrainerSettings {
  const given = { ...DEFAULT_TRAINER_SETTINGS, ...withoutUndefined(options) };
  return { ...given, roundedEpochs: options.roundedEpochs ?? defaultRoundedEpochs(given.dtype) };
}

/** Weights as they will be stored. */
export function storeWeights(
  shape: Pick<TrainedLayer, "layer" | "rank" | "dModel" | "dFf" | "dtype">,
  weights: PredictorWeights,
): UncalibratedLayer {
  const { layer, rank, dModel, dFf, dtype } = shape;
  return {
    layer,
    rank,
    w1: quantisePredictorMatrix(weights.w1, rank, dModel, dtype),
    w2: quantisePredictorMatrix(weights.w2, dFf, rank, dtype),
  };
}

/** Measures a trainer's present weights as stored. */
function epochJudge(
  factory: KernelFactory,
  samples: LayerSamples,
  options: LayerTrainingOptions,
  dtype: PredictorDType,
): (trainer: LayerTrainer) => BestEpoch {
  const { layer, layout } = samples;
  const { rank, downNorms, maxHeldOutTokens = DEFAULT_HELD_OUT_TOKENS } = options;
  const { namedPerActive = DEFAULT_NAMED_PER_ACTIVE } = options;
  const shape = { layer, rank, dModel: layout.dModel, dFf: layout.dFf, dtype };
  let meter: CurveMeter | null = null;
  return (trainer) => {
    const weights = trainer.weights();
    const stored = storeWeights(shape, weights);
    meter ??= new CurveMeter(factory, samples, downNorms, stored, maxHeldOutTokens);
    const curve = meter.measure(stored);
    return { epoch: trainer.epoch, missedMass: missedMassAt(curve, namedPerActive), weights, curve };
  };
}

/** Trains to the end of the epoch; the mean loss of its steps. */
async function trainEpoch(
  trainer: LayerTrainer,
  layer: number,
  { signal, onProgress }: LayerTrainingOptions,
): Promise<number> {
  const stepsPerTurn = Math.max(1, Math.min(STEPS_PER_TURN, Math.floor(FLOP_PER_TURN / trainer.flopPerStep)));
  let sum = 0;
  let steps = 0;
  do {
    signal?.throwIfAborted();
    const loss = trainer.trainStep();
    sum += loss;
    steps++;
    if (trainer.step % stepsPerTurn !== 0 && !trainer.isEpochEnd) continue;
    const detail = `layer ${layer}, loss ${loss.toFixed(4)}`;
    onProgress?.({ phase: "train", loaded: trainer.step, total: trainer.totalSteps, unit: "steps", detail });
    await eventLoopTurn();
  } while (!trainer.isEpochEnd);
  signal?.throwIfAborted();
  return sum / steps;
}

/** So that an option that is given as undefined does not hide its default. */
function withoutUndefined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}
