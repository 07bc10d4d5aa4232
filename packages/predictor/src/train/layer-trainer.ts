/**
 * Trains one layer's predictor: z = W2 · ReLU(W1 · x), no biases, weighted binary cross-entropy against "is active", AdamW.
 *
 * LLM in a flash, 3.1: a low-rank net on the output of the current layer's attention, with a balanced loss. The paper gives
 * no formula; here a positive weighs 1 and a negative w = max(share of active neurons + 0.005, 0.05), after Deja Vu.
 *
 * Invariants: a training is a function of (samples, settings, seed, backend) alone, bit for bit; an epoch's randomness
 * depends on its number only, so a state saved after an epoch goes on exactly as if it had never stopped. Samples stay f16
 * and are decoded a micro-batch at a time: the arena holds weights, moments and one micro-batch.
 *
 * Few bits: after the epochs in f32 come `roundedEpochs`, in which both passes use the weights as they will be stored, and the gradients change the f32
 * weights behind them (straight-through: Bengio et al. 2013, arXiv 1308.3432).
 */
import { assert, InputError } from "@flashwick/core";
import { Arena, type KernelFactory, type Ptr, type TrainingKernels } from "@flashwick/kernels";
import {
  dequantisePredictorMatrix,
  fitsPredictorDType,
  type PredictorDType,
  quantisePredictorMatrix,
} from "../predictor-matrix.js";
import { type LearningRateSchedule, learningRate } from "./learning-rate.js";
import { shuffledIndices, trainerRandom } from "./random.js";
import type { SampleLayout } from "./sample-layout.js";
import type { LayerSamples } from "./sample-store.js";

/** Tokens whose scores lie in the arena at once: their scores (512 KiB at dFf 1024) stay in the second-level cache. */
const MICRO_BATCH_TOKENS = 128;
const BETA1 = 0.9;
/** Shorter than the usual 0.999: trainings are a few thousand steps (-13 % missed mass on the OPT demo, rank 32). */
const BETA2 = 0.99;
const EPSILON = 1e-8;

/** How a layer is trained. */
export interface TrainerSettings {
  /** A multiple of 4. */
  readonly rank: number;
  /** Epochs with f32 weights. */
  readonly epochs: number;
  /** Epochs after them with weights rounded to `dtype`. */
  readonly roundedEpochs: number;
  /** How the weights will be stored. */
  readonly dtype: PredictorDType;
  /** Tokens of one step of the optimiser. */
  readonly batchTokens: number;
  /** `auto`: `autoLearningRate`. */
  readonly peakLearningRate: number | "auto";
  readonly floorLearningRate: number;
  /** Steps of linear warm-up; at most a tenth of all steps are used for it. */
  readonly warmupSteps: number;
  readonly weightDecay: number;
  /** Weight of an inactive neuron in the loss, an active one being 1; `balanced`: max(active share + 0.005, 0.05). */
  readonly negativeWeight: number | "balanced";
  readonly seed: number;
  /** Training tokens to use at most: a random subset, the same for all epochs. */
  readonly maxTokens: number;
}

/**
 * Small batches and high rates: measured on the OPT demo (layer 4, rank 32, 200 k tokens, 4 epochs, naming twice as many as
 * are active), 512 tokens at 1e-3 miss 4.2 % of the output mass, 512 at 3e-3 1.7 %, 128 at 3e-3 1.2 %.
 */
export const DEFAULT_TRAINER_SETTINGS: Omit<TrainerSettings, "rank" | "roundedEpochs"> = {
  epochs: 4,
  dtype: "int8",
  batchTokens: 128,
  peakLearningRate: "auto",
  floorLearningRate: 1e-5,
  warmupSteps: 50,
  weightDecay: 0.01,
  negativeWeight: "balanced",
  seed: 0,
  maxTokens: Number.POSITIVE_INFINITY,
};

/** 3e-3 up to dModel 256, falling with its square root to the 1e-3 that others use for large models. */
export function autoLearningRate(dModel: number): number {
  return Math.max(1e-3, 3e-3 * Math.min(1, Math.sqrt(256 / dModel)));
}

/**
 * One epoch where it is worth its time: in four bits it takes away half of what rounding adds to the missed mass (falcon-demo, layer 4, rank 96: f32
 * 0.22 %, rounded 0.46 %, with the epoch 0.30 %). int8 adds a hundredth, which there is nothing to gain from.
 */
export function defaultRoundedEpochs(dtype: PredictorDType): number {
  return dtype === "q4_0" ? 1 : 0;
}

/** Of the peak rate, where the rounded epochs begin. */
const ROUNDED_PEAK = 0.2;

/** f32 weights: W1 `[rank, dModel]` and W2 `[dFf, rank]`, row-major. */
export interface PredictorWeights {
  readonly w1: Float32Array;
  readonly w2: Float32Array;
}

/** Everything that a training carries from one epoch to the next; plain data. */
export interface TrainerState {
  /** Epochs done. */
  readonly epoch: number;
  /** Steps done. */
  readonly step: number;
  readonly weights: PredictorWeights;
  /** Means of the gradient and of its square, shaped like the weights. */
  readonly mean: PredictorWeights;
  readonly square: PredictorWeights;
}

/** Where a parameter matrix, its gradient and its moments lie. */
interface Parameter {
  readonly rows: number;
  readonly cols: number;
  readonly count: number;
  readonly value: Ptr;
  /** The value as it will be stored, for rounded epochs; where there are none the value itself. */
  readonly rounded: Ptr;
  readonly gradient: Ptr;
  readonly mean: Ptr;
  readonly square: Ptr;
}

interface Buffers {
  readonly w1: Parameter;
  readonly w2: Parameter;
  /** Sample records `[micro, recordBytes]`. */
  readonly records: Ptr;
  /** f32 `[micro, dModel]`, `[micro, rank]` twice, `[micro, dFf]`. */
  readonly x: Ptr;
  readonly hidden: Ptr;
  readonly hiddenGradient: Ptr;
  readonly scores: Ptr;
}

/** Bytes of arena that a trainer takes. */
export function trainerBytes(
  layout: SampleLayout,
  { rank, roundedEpochs }: Pick<TrainerSettings, "rank" | "roundedEpochs">,
): number {
  const { dModel, dFf, recordBytes } = layout;
  const parameters = rank * (dModel + dFf);
  return (
    (roundedEpochs > 0 ? 20 : 16) * parameters +
    MICRO_BATCH_TOKENS * (recordBytes + 4 * (dModel + 2 * rank + dFf)) +
    16 * 16
  );
}

/** Trains the net of one layer, batch by batch. */
export class LayerTrainer {
  readonly totalSteps: number;
  readonly stepsPerEpoch: number;
  readonly #kernels: TrainingKernels;
  readonly #buffers: Buffers;
  readonly #schedule: LearningRateSchedule;
  readonly #roundedSchedule: LearningRateSchedule;
  readonly #negativeWeight: number;
  readonly #batchTokens: number;
  /** The training samples in use. */
  readonly #subset: Uint32Array;
  #order: Uint32Array | null = null;
  #epoch = 0;
  #step = 0;

  /**
   * @param state From `state` of a trainer with the same samples and settings, to go on from; null to begin.
   * @throws {InputError} `INPUT_INVALID` for settings out of range, no samples, or a state that does not fit.
   */
  constructor(
    factory: KernelFactory,
    private readonly samples: LayerSamples,
    private readonly settings: TrainerSettings,
    state: TrainerState | null = null,
  ) {
    checkSettings(samples, settings);
    const { counts, layout, layer } = samples;
    this.#subset = chooseSubset(samples, settings);
    this.#batchTokens = Math.min(settings.batchTokens, this.#subset.length);
    this.stepsPerEpoch = Math.floor(this.#subset.length / this.#batchTokens);
    this.totalSteps = this.stepsPerEpoch * (settings.epochs + settings.roundedEpochs);
    const peak = peakLearningRate(settings, layout.dModel);
    this.#schedule = scheduleOf(settings, peak, this.stepsPerEpoch * settings.epochs);
    const roundedPeak = Math.max(settings.floorLearningRate, ROUNDED_PEAK * peak);
    this.#roundedSchedule = scheduleOf(settings, roundedPeak, this.stepsPerEpoch * settings.roundedEpochs);
    const activeShare = counts.trainActive / (counts.trainTokens * layout.dFf);
    this.#negativeWeight =
      settings.negativeWeight === "balanced" ? Math.max(activeShare + 0.005, 0.05) : settings.negativeWeight;
    this.#kernels = factory(new Arena(trainerBytes(layout, settings)));
    this.#buffers = allocateBuffers(this.#kernels.arena, layout, settings);
    if (state === null) this.#initialise(layer);
    else this.#restore(state);
  }

  /** Epochs done. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Steps done, over all epochs. */
  get step(): number {
    return this.#step;
  }

  /** Floating-point operations of a step's matrix products. */
  get flopPerStep(): number {
    const { dModel, dFf } = this.samples.layout;
    return 2 * this.settings.rank * (2 * dModel + 3 * dFf) * this.#batchTokens;
  }

  /** Whether the next step begins a new epoch. */
  get isEpochEnd(): boolean {
    return this.#step === this.#epoch * this.stepsPerEpoch;
  }

  /**
   * One step of the optimiser.
   *
   * @returns The mean loss per neuron and token over the step's batch.
   * Cost: {@link flopPerStep}, and one sigmoid a neuron and token.
   */
  trainStep(): number {
    assert(this.#step < this.totalSteps, "a step that is left to do");
    this.#order ??= shuffledIndices(
      this.#subset.length,
      trainerRandom("shuffle", this.settings.seed, this.samples.layer, this.#epoch),
    );
    const from = (this.#step - this.#epoch * this.stepsPerEpoch) * this.#batchTokens;
    if (this.#isRounding) this.#round();
    let loss = 0;
    for (let done = 0; done < this.#batchTokens; done += MICRO_BATCH_TOKENS) {
      const end = Math.min(done + MICRO_BATCH_TOKENS, this.#batchTokens);
      const indices = this.#order.subarray(from + done, from + end).map((i) => this.#subset[i]!);
      this.#load(indices);
      loss += this.#accumulateGradients(indices.length);
    }
    this.#update();
    if (this.#step === (this.#epoch + 1) * this.stepsPerEpoch) {
      this.#epoch++;
      this.#order = null;
    }
    return loss / (this.#batchTokens * this.samples.layout.dFf);
  }

  /** A copy of the weights. */
  weights(): PredictorWeights {
    return this.#copy("value");
  }

  /** What {@link LayerTrainer} takes to go on from here; between epochs only. */
  state(): TrainerState {
    assert(this.isEpochEnd, "a state is taken between epochs");
    const moments = { mean: this.#copy("mean"), square: this.#copy("square") };
    return { epoch: this.#epoch, step: this.#step, weights: this.weights(), ...moments };
  }

  #copy(part: "value" | "mean" | "square"): PredictorWeights {
    const { w1, w2 } = this.#buffers;
    const { arena } = this.#kernels;
    return { w1: arena.f32(w1[part], w1.count).slice(), w2: arena.f32(w2[part], w2.count).slice() };
  }

  /** Uniform in ±1/√(inputs), as PyTorch initialises a linear layer. */
  #initialise(layer: number): void {
    const fill = (purpose: "w1" | "w2", inputs: number) => {
      const { value, count } = this.#buffers[purpose];
      const random = trainerRandom(purpose, this.settings.seed, layer);
      const weights = this.#kernels.arena.f32(value, count);
      for (let i = 0; i < count; i++) weights[i] = (2 * random.uniform() - 1) / Math.sqrt(inputs);
    };
    fill("w1", this.samples.layout.dModel);
    fill("w2", this.settings.rank);
  }

  #restore({ epoch, step, weights, mean, square }: TrainerState): void {
    const { w1, w2 } = this.#buffers;
    if (weights.w1.length !== w1.count || weights.w2.length !== w2.count || step !== epoch * this.stepsPerEpoch) {
      throw new InputError(
        "INPUT_INVALID",
        `layer ${this.samples.layer}: the saved training (epoch ${epoch}, step ${step}, ${weights.w1.length} weights in W1) ` +
          "belongs to other samples or settings; train without resuming",
        { details: { layer: this.samples.layer, epoch, step } },
      );
    }
    const { arena } = this.#kernels;
    for (const [name, parameter] of [["w1", w1] as const, ["w2", w2] as const]) {
      arena.f32(parameter.value, parameter.count).set(weights[name]);
      arena.f32(parameter.mean, parameter.count).set(mean[name]);
      arena.f32(parameter.square, parameter.count).set(square[name]);
    }
    this.#epoch = epoch;
    this.#step = step;
  }

  get #isRounding(): boolean {
    return this.#epoch >= this.settings.epochs;
  }

  /** Weights as they would be stored now, beside those that learn. */
  #round(): void {
    const { arena } = this.#kernels;
    for (const { value, rounded, rows, cols, count } of [this.#buffers.w1, this.#buffers.w2]) {
      const stored = quantisePredictorMatrix(arena.f32(value, count), rows, cols, this.settings.dtype);
      arena.f32(rounded, count).set(dequantisePredictorMatrix(stored));
    }
  }

  #load(indices: Uint32Array): void {
    const { recordBytes, dModel } = this.samples.layout;
    const { records, x } = this.#buffers;
    this.samples.readTrain(indices, this.#kernels.arena.u8(records, indices.length * recordBytes));
    for (let t = 0; t < indices.length; t++) {
      this.#kernels.decodeF16(x + 4 * t * dModel, records + t * recordBytes, dModel);
    }
  }

  /** Forward and backward over the loaded tokens; adds to the gradients, returns the summed loss. */
  #accumulateGradients(nTokens: number): number {
    const k = this.#kernels;
    const { w1, w2, records, x, hidden, hiddenGradient, scores } = this.#buffers;
    const { dModel, dFf, recordBytes, activeOffset } = this.samples.layout;
    const { rank } = this.settings;
    const [used1, used2] = this.#isRounding ? [w1.rounded, w2.rounded] : [w1.value, w2.value];
    k.gemmTransposed(hidden, rank, x, dModel, used1, dModel, nTokens, rank, dModel);
    k.relu(hidden, nTokens * rank);
    k.gemmTransposed(scores, dFf, hidden, rank, used2, rank, nTokens, dFf, rank);
    const labels = records + activeOffset;
    // Gradients are summed over neurons and averaged over tokens: far above AdamW's epsilon, whatever dFf is.
    const scale = 1 / this.#batchTokens;
    const loss = k.crossEntropyGradient(scores, dFf, labels, recordBytes, nTokens, dFf, 1, this.#negativeWeight, scale);
    k.gemm(w2.gradient, rank, scores, 1, dFf, hidden, rank, dFf, rank, nTokens);
    k.zero(hiddenGradient, nTokens * rank);
    k.gemm(hiddenGradient, rank, scores, dFf, 1, used2, rank, nTokens, rank, dFf);
    k.reluGradient(hiddenGradient, hidden, nTokens * rank);
    k.gemm(w1.gradient, dModel, hiddenGradient, 1, rank, x, dModel, rank, dModel, nTokens);
    return loss;
  }

  #update(): void {
    const floatSteps = this.#schedule.totalSteps;
    const rate =
      this.#step < floatSteps
        ? learningRate(this.#schedule, this.#step)
        : learningRate(this.#roundedSchedule, this.#step - floatSteps);
    this.#step++;
    const { weightDecay } = this.settings;
    for (const { value, gradient, mean, square, count } of [this.#buffers.w1, this.#buffers.w2]) {
      this.#kernels.adamW(value, gradient, mean, square, count, this.#step, rate, BETA1, BETA2, EPSILON, weightDecay);
    }
  }
}

function peakLearningRate({ peakLearningRate: peak }: TrainerSettings, dModel: number): number {
  return peak === "auto" ? autoLearningRate(dModel) : peak;
}

function scheduleOf(
  { floorLearningRate: floor, warmupSteps }: TrainerSettings,
  peak: number,
  totalSteps: number,
): LearningRateSchedule {
  return { peak, floor, warmupSteps: Math.min(warmupSteps, Math.floor(totalSteps / 10)), totalSteps };
}

function allocateBuffers(
  arena: Arena,
  { dModel, dFf, recordBytes }: SampleLayout,
  { rank, roundedEpochs }: TrainerSettings,
): Buffers {
  const floats = (count: number) => arena.allocate(4 * count);
  const parameter = (rows: number, cols: number): Parameter => {
    const count = rows * cols;
    const value = floats(count);
    const rounded = roundedEpochs > 0 ? floats(count) : value;
    return { rows, cols, count, value, rounded, gradient: floats(count), mean: floats(count), square: floats(count) };
  };
  return {
    w1: parameter(rank, dModel),
    w2: parameter(dFf, rank),
    records: arena.allocate(MICRO_BATCH_TOKENS * recordBytes),
    x: floats(MICRO_BATCH_TOKENS * dModel),
    hidden: floats(MICRO_BATCH_TOKENS * rank),
    hiddenGradient: floats(MICRO_BATCH_TOKENS * rank),
    scores: floats(MICRO_BATCH_TOKENS * dFf),
  };
}

function chooseSubset({ counts, layer }: LayerSamples, { seed, maxTokens }: TrainerSettings): Uint32Array {
  if (counts.trainTokens <= maxTokens) return Uint32Array.from({ length: counts.trainTokens }, (_, i) => i);
  return shuffledIndices(counts.trainTokens, trainerRandom("subset", seed, layer)).slice(0, maxTokens);
}

function checkSettings({ counts, layer, layout }: LayerSamples, settings: TrainerSettings): void {
  const require = (fits: boolean, what: string, expected: string, found: number | string) => {
    if (fits) return;
    throw new InputError("INPUT_INVALID", `training layer ${layer}: expected ${what} ${expected}, found ${found}`, {
      details: { layer, what, expected, found },
    });
  };
  const { rank, dtype, epochs, roundedEpochs, batchTokens, maxTokens, floorLearningRate } = settings;
  const peak = peakLearningRate(settings, layout.dModel);
  require(Number.isInteger(rank) && rank >= 4 && rank % 4 === 0, "rank", "a multiple of 4", rank);
  const isStorable = fitsPredictorDType(dtype, rank) && fitsPredictorDType(dtype, layout.dModel);
  require(isStorable, `for ${dtype} rank and dModel`, "multiples of 32", `${rank} and ${layout.dModel}`);
  require(Number.isInteger(epochs) && epochs >= 1, "epochs", "a positive integer", epochs);
  require(Number.isInteger(roundedEpochs) && roundedEpochs >= 0, "rounded epochs", "0 or more", roundedEpochs);
  require(Number.isInteger(batchTokens) && batchTokens >= 1, "batch tokens", "a positive integer", batchTokens);
  require(maxTokens >= 1, "training tokens", "at least 1", maxTokens);
  const falls = peak >= floorLearningRate && floorLearningRate >= 0;
  require(falls, "learning rates", "peak ≥ floor ≥ 0", `${peak} and ${floorLearningRate}`);
  require(counts.trainTokens > 0, "training samples", "at least 1 (record more text)", 0);
}
