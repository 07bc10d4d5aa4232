/**
 * Thresholds, and where several predictors are given ranks, by a stated target: the fewest neurons named (or bytes read) with which a
 * text keeps its perplexity and its likeliest tokens within what was asked for. And which layers hurt.
 *
 * One recording of the text gives every layer's curve (what each threshold names and misses); choices come from the curves, and each is
 * judged by running the text: curves say which choice is best for its price, only the model says what it does to the output.
 */
import { assert, InputError, type OnProgress, type Predictor, type PredictorLayer } from "@flashwick/core";
import { missShare, namedShare } from "@flashwick/cost-model";
import type { KernelFactory } from "@flashwick/kernels";
import {
  type CalibrationCurve,
  type Candidate,
  type CandidateChoice,
  CurveMeter,
  chooseCandidates,
  qualityAt,
} from "@flashwick/predictor/train";
import { type EvaluateResult, evaluateText } from "../evaluate.js";
import { Model } from "../model.js";
import type { ModelOptions } from "../model-options.js";
import { recordText } from "./record-text.js";
import { trainingWindowTokens } from "./training-text.js";

export interface CalibrationTarget {
  /** Perplexity over the dense one's, minus 1, at most. */
  readonly perplexityRise?: number | undefined;
  /** Share of positions whose likeliest token is the dense model's, at least. */
  readonly top1Agreement?: number | undefined;
}

export interface CalibrateOptions {
  /** One or more predictors of the model; of several, each layer takes the one whose weights are worth it. */
  readonly predictors: readonly Predictor[];
  readonly text: string;
  readonly target: CalibrationTarget;
  /** Windows of the text that are judged; default 64. */
  readonly maxWindows?: number;
  /** Predictor weights over model weights, at most; default: any. */
  readonly share?: number | undefined;
  /** Model weights, for `share`. */
  readonly modelParameters: number;
  /** `named`: every neuron counts one; `bytes`: as much as it is likely to be read within the budget of `engine`. Default `named`. */
  readonly cost?: "named" | "bytes";
  /** How the model will be run: budget, window, policy. */
  readonly engine?: ModelOptions;
  /** Also run the text with each layer sparse alone. */
  readonly layerReport?: boolean;
  readonly kernels: KernelFactory;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One choice, judged. */
export interface CalibrationStep {
  /** Asked of the choice, on the curves. */
  readonly namedPerActive: number;
  readonly perplexityRise: number;
  readonly top1Agreement: number;
  readonly meanKl: number;
  readonly met: boolean;
}

export interface CalibrationResult extends CalibrationStep {
  readonly predictor: Predictor;
  /** Index into the given predictors, by layer. */
  readonly chosen: readonly number[];
  readonly steps: readonly CalibrationStep[];
  /** Predictor weights over model weights. */
  readonly parameterShare: number;
  /** Rise of the perplexity with this layer sparse and all others dense; null unless asked for. */
  readonly riseByLayer: readonly number[] | null;
}

/** The search's range of named over active, and how finely it is searched. */
const LEAST_RATIO = 1;
const MOST_RATIO = 8;
const RATIO_STEP = 0.05;

/**
 * @param model Dense.
 * @throws {InputError} without a target, a predictor, or a whole window of text; for predictors that name every neuron of a layer; for a share
 * that none of them keeps.
 * Cost: a recording of the text, and about eight runs of it beside the dense ones.
 */
export async function calibratePredictor(model: Model, options: CalibrateOptions): Promise<CalibrationResult> {
  assert(model.mode === "dense", "what is active is recorded from the dense model");
  checkOptions(options);
  const candidates = await measureCandidates(model, options);
  const costs = options.cost === "bytes" ? readCosts(model, options) : candidates.map(() => 1);
  const maxWeights = (options.share ?? Number.POSITIVE_INFINITY) * options.modelParameters;
  checkShare(candidates, maxWeights, options);
  const steps: CalibrationStep[] = [];
  const choose = (namedPerActive: number) => chooseCandidates(candidates, { namedPerActive, maxWeights, costs });
  const judge = async (namedPerActive: number) => {
    const choice = choose(namedPerActive);
    const predictor = assemblePredictor(options.predictors, candidates, choice);
    const result = await evaluate(model, predictor, options);
    const step = stepOf(namedPerActive, result, options.target);
    steps.push(step);
    options.onProgress?.({ phase: "calibrate", loaded: steps.length, total: MOST_STEPS, unit: "runs" });
    return { step, choice, result, predictor };
  };
  let best = await judge(MOST_RATIO);
  let [low, high] = [LEAST_RATIO, MOST_RATIO];
  while (best.step.met && high - low > RATIO_STEP) {
    // Ratios act by their size: half-way between 1 and 8 is 2.8.
    const middle = Math.sqrt(low * high);
    const next = await judge(middle);
    if (next.step.met) [best, high] = [next, middle];
    else low = middle;
  }
  const chosen = best.choice.map(({ candidate }) => candidate);
  const weights = best.choice.reduce((sum, { candidate }, l) => sum + candidates[l]![candidate]!.weights, 0);
  return {
    ...best.step,
    predictor: {
      ...best.predictor,
      sparsity: best.result.sparsity,
      training: facts(best.predictor, best.step, options),
    },
    chosen,
    steps,
    parameterShare: weights / options.modelParameters,
    riseByLayer: options.layerReport ? await alone(model, best.predictor, options) : null,
  };
}

const MOST_STEPS = 1 + Math.ceil(Math.log2(Math.log(MOST_RATIO / LEAST_RATIO) / Math.log(1 + RATIO_STEP / MOST_RATIO)));

function checkOptions({ predictors, target }: CalibrateOptions): void {
  const { perplexityRise, top1Agreement } = target;
  if (perplexityRise === undefined && top1Agreement === undefined) {
    throw new InputError("INPUT_INVALID", "calibration: expected a target, a rise of the perplexity or an agreement");
  }
  if (predictors.length === 0) throw new InputError("INPUT_INVALID", "calibration: expected at least one predictor");
  for (const [p, { layers }] of predictors.entries()) {
    const untrained = layers.find(({ threshold }) => threshold === Number.NEGATIVE_INFINITY);
    if (!untrained) continue;
    throw new InputError(
      "INPUT_INVALID",
      `calibration: layer ${untrained.layer} of predictor ${p} names every neuron; train it, or merge a file that has it`,
      { details: { layer: untrained.layer, predictor: p } },
    );
  }
}

/** @throws {InputError} if not even the lightest predictor of every layer is within the share. */
function checkShare(
  candidates: readonly (readonly Candidate[])[],
  maxWeights: number,
  { share, modelParameters }: CalibrateOptions,
): void {
  const lightest = candidates.reduce((sum, of) => sum + Math.min(...of.map(({ weights }) => weights)), 0);
  if (lightest <= maxWeights) return;
  const least = lightest / modelParameters;
  throw new InputError(
    "INPUT_INVALID",
    `calibration: a share of ${share} of the model's weights, but the lightest predictors have ${least.toPrecision(3)}; ask for that, or train smaller ranks`,
    { details: { share, least } },
  );
}

/** Every predictor's curve on the text, `[layer][predictor]`. @param model Dense. */
export async function measureCandidates(
  model: Model,
  {
    predictors,
    text,
    kernels,
    maxWindows = 64,
    onProgress,
    signal,
  }: Pick<CalibrateOptions, "predictors" | "text" | "kernels" | "maxWindows" | "onProgress" | "signal">,
): Promise<Candidate[][]> {
  const maxTokens = maxWindows * trainingWindowTokens(model.header.geometry.contextLength);
  const recording = await recordText(model, text, { maxTokens, isHeldOut: () => true, onProgress, signal });
  return recording.downNorms.map((downNorms, l) => {
    const samples = recording.samples.layer(l);
    return predictors.map(({ layers }) => {
      const layer = layers[l]!;
      signal?.throwIfAborted();
      const curve = new CurveMeter(kernels, samples, downNorms, layer).measure(layer);
      return { curve, weights: layer.w1.rows * layer.w1.cols + layer.w2.rows * layer.w2.cols };
    });
  });
}

/** How likely a named neuron of each layer is to be read; even where nobody knows, or nothing is read. */
function readCosts(model: Model, { predictors, engine = {} }: CalibrateOptions): number[] {
  const { dFf, nLayers } = model.header.geometry;
  const { sparsity } = predictors[0]!;
  if (sparsity === null) return new Array<number>(nLayers).fill(1);
  const planned = new Model({ ...model.parts, predictor: predictors[0]! }, { ...engine, mode: "predicted" });
  const { slotsByLayer } = planned.plan(trainingWindowTokens(model.header.geometry.contextLength));
  const use = { windowTokens: engine.windowTokens ?? Number.POSITIVE_INFINITY, seenTokens: 128 };
  const costs = slotsByLayer.map(
    (slots, l) => missShare(sparsity, l, { ...use, heldShare: slots / dFf }) / namedShare(sparsity, l),
  );
  return costs.some((cost) => cost > 0) ? costs : costs.map(() => 1);
}

/** A predictor of each layer's chosen candidate and threshold, with what the curves say of it. */
export function assemblePredictor(
  predictors: readonly Predictor[],
  candidates: readonly (readonly Candidate[])[],
  choice: readonly CandidateChoice[],
): Predictor {
  const layers = choice.map(({ candidate, bin }, l): PredictorLayer => {
    const { w1, w2, rank } = predictors[candidate]!.layers[l]!;
    const curve: CalibrationCurve = candidates[l]![candidate]!.curve;
    return { ...qualityAt(curve, bin, l, rank), w1, w2 };
  });
  return { ...predictors[0]!, layers, sparsity: null };
}

/** The text with this predictor, beside the dense model. */
async function evaluate(
  { parts }: Model,
  predictor: Predictor,
  { text, engine, maxWindows = 64, signal }: CalibrateOptions,
): Promise<EvaluateResult> {
  // Both share the dense model's file and threads, which end with it.
  const sparse = new Model({ ...parts, predictor }, { ...engine, mode: "predicted" });
  const dense = new Model({ ...parts, predictor: null }, { mode: "dense" });
  const windowTokens = trainingWindowTokens(dense.header.geometry.contextLength);
  return await evaluateText(sparse, text, { against: dense, windowTokens, maxWindows, signal });
}

function stepOf(namedPerActive: number, result: EvaluateResult, target: CalibrationTarget): CalibrationStep {
  const against = result.against!;
  const perplexityRise = result.perplexity / against.perplexity - 1;
  const { top1Agreement, meanKl } = against;
  const met =
    perplexityRise <= (target.perplexityRise ?? Number.POSITIVE_INFINITY) &&
    top1Agreement >= (target.top1Agreement ?? 0);
  return { namedPerActive, perplexityRise, top1Agreement, meanKl, met };
}

function facts({ training }: Predictor, step: CalibrationStep, { target, cost = "named" }: CalibrateOptions) {
  const { perplexityRise = null, top1Agreement = null } = target;
  const measured = { perplexityRise: step.perplexityRise, top1Agreement: step.top1Agreement, meanKl: step.meanKl };
  const calibration = { perplexityRise, top1Agreement, cost, measured };
  return { ...training, namedPerActive: step.namedPerActive, calibration };
}

/** Each layer sparse by itself. */
async function alone(model: Model, predictor: Predictor, options: CalibrateOptions): Promise<number[]> {
  const rises: number[] = [];
  for (const layer of predictor.layers.keys()) {
    const layers = predictor.layers.map((of, l) => (l === layer ? of : { ...of, threshold: Number.NEGATIVE_INFINITY }));
    const { perplexity, against } = await evaluate(model, { ...predictor, layers }, options);
    rises.push(perplexity / against!.perplexity - 1);
    options.onProgress?.({ phase: "alone", loaded: layer + 1, total: predictor.layers.length, unit: "layers" });
  }
  return rises;
}
