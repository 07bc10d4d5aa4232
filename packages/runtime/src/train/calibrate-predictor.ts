/**
 * Thresholds, and where several predictors are given ranks, by a stated target: the fewest neurons named (or bytes read) with which a
 * text keeps its perplexity and its likeliest tokens within what was asked for. And which layers hurt.
 *
 * One recording of the text gives every layer's curve (what each threshold names and misses); choices come from the curves, and each is
 * judged by running the text: curves say which choice is best for its price, only the model says what it does to the output.
 */
import { assert, InputError, neuronGrid, type OnProgress, type Predictor, type PredictorLayer } from "@flashwick/core";
import { missShare, namedShare } from "@flashwick/cost-model";
import type { KernelFactory } from "@flashwick/kernels";
import { predictorBytes } from "@flashwick/predictor";
import {
  type CalibrationCurve,
  type Candidate,
  type CandidateChoice,
  chooseCandidates,
  qualityAt,
  StreamedCurves,
  streamedCurvesBytes,
} from "@flashwick/predictor/train";
import { evaluateText } from "../evaluate.js";
import type { EvaluateResult } from "../evaluation.js";
import { Model } from "../model.js";
import type { ModelOptions } from "../model-options.js";
import { type JudgedModel, withJudgedModel } from "./judged-model.js";
import { recordTextInto } from "./record-text.js";
import { f16Bytes } from "./train-predictors.js";
import { heldPredictorBytes, judgingBytes, recordingBytes } from "./training-memory.js";
import { trainingWindowTokens } from "./training-text.js";

/** The quality that thresholds must keep. */
export interface CalibrationTarget {
  /** Perplexity over the dense one's, minus 1, at most. */
  readonly perplexityRise?: number | undefined;
  /** Share of positions whose likeliest token is the dense model's, at least. */
  readonly top1Agreement?: number | undefined;
}

/** Text, target and budget of a calibration. */
export interface CalibrateOptions {
  /** One or more predictors of the model; of several, each layer takes the one whose bytes are worth it. They may differ in rank and in type. */
  readonly predictors: readonly Predictor[];
  readonly text: string;
  readonly target: CalibrationTarget;
  /** Windows of the text that are judged; default 64. */
  readonly maxWindows?: number;
  /** Bytes of the predictor over the model's weights in f16, at most; default: any. */
  readonly shareBytes?: number | undefined;
  /** `named`: every neuron counts one; `bytes`: as much as it is likely to be read within the budget of `engine`. Default `named`. */
  readonly cost?: "named" | "bytes";
  /** How the model will be run, for `cost: "bytes"`: budget, window, policy. */
  readonly engine?: ModelOptions;
  /**
   * Hard ceiling of DRAM of the calibration: its engine, the predictors, curves, and what of the text is held at once. The result does not depend
   * on it. Default: the model's own.
   */
  readonly dramBudgetBytes?: number | undefined;
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

/** The thresholds that were chosen, and what they reach. */
export interface CalibrationResult extends CalibrationStep {
  readonly predictor: Predictor;
  /** Index into the given predictors, by layer. */
  readonly chosen: readonly number[];
  readonly steps: readonly CalibrationStep[];
  /** Bytes of the predictor over the model's weights in f16. */
  readonly byteShare: number;
  /** Rise of the perplexity with this layer sparse and all others dense; null unless asked for. */
  readonly riseByLayer: readonly number[] | null;
}

/** The search's range of named over active, and how finely it is searched. */
const LEAST_RATIO = 1;
const MOST_RATIO = 8;
const RATIO_STEP = 0.05;

/**
 * @param model Any of the model's file. Its parts are used, and its engine, if it has one, is unloaded.
 * @throws {InputError} without a target, a predictor, or a whole window of text; for predictors that name every neuron of a layer; for a share
 * that none of them keeps. {BudgetError} with the smallest budget that would do.
 * Cost: a recording of the text, and about eight runs of it beside the dense ones.
 */
export async function calibratePredictor(model: Model, options: CalibrateOptions): Promise<CalibrationResult> {
  checkOptions(options);
  const budget = {
    what: "calibration",
    dramBudgetBytes: options.dramBudgetBytes,
    besideBytes: measuringBytes(model, options) + judgingBytes(model.header),
    // Whichever are chosen.
    predictor: largest(options),
  };
  return await withJudgedModel(model, budget, async (judged) => await calibrate(model, judged, options));
}

async function calibrate(model: Model, judged: JudgedModel, options: CalibrateOptions): Promise<CalibrationResult> {
  const { curves: candidates, downNorms } = await measureCandidates(await judged.with(largest(options)), options);
  const costs = options.cost === "bytes" ? readCosts(model, options) : candidates.map(() => 1);
  const modelBytes = f16Bytes(model.header);
  const maxBytes = (options.shareBytes ?? Number.POSITIVE_INFINITY) * modelBytes;
  checkShare(candidates, maxBytes, modelBytes);
  const steps: CalibrationStep[] = [];
  const choose = (namedPerActive: number) => chooseCandidates(candidates, { namedPerActive, maxBytes, costs });
  const judge = async (namedPerActive: number) => {
    const choice = choose(namedPerActive);
    const predictor = assemblePredictor(options.predictors, candidates, choice);
    const result = await evaluate(judged, predictor, downNorms, options);
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
  const bytes = best.choice.reduce((sum, { candidate }, l) => sum + candidates[l]![candidate]!.bytes, 0);
  return {
    ...best.step,
    predictor: {
      ...best.predictor,
      sparsity: best.result.sparsity,
      training: facts(best.predictor, best.step, options),
    },
    chosen,
    steps,
    byteShare: bytes / modelBytes,
    riseByLayer: options.layerReport ? await alone(judged, best.predictor, downNorms, options) : null,
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
function checkShare(candidates: readonly (readonly Candidate[])[], maxBytes: number, modelBytes: number): void {
  const lightest = candidates.reduce((sum, of) => sum + Math.min(...of.map(({ bytes }) => bytes)), 0);
  if (lightest <= maxBytes) return;
  const [share, least] = [maxBytes / modelBytes, lightest / modelBytes];
  throw new InputError(
    "INPUT_INVALID",
    `calibration: a share of ${share} of the model's f16 bytes, but the lightest predictors have ${least.toPrecision(3)}; ask for that, or train smaller ones`,
    { details: { share, least } },
  );
}

/** What a text says of some predictors. */
export interface MeasuredCandidates {
  /** Every predictor's curve, `[layer][predictor]`. */
  readonly curves: readonly (readonly Candidate[])[];
  /** ‖down_i‖₂ of every neuron, f64 `[dFf]` by layer. */
  readonly downNorms: readonly Float64Array[];
}

/**
 * Records the text and measures each predictor on it as it goes: no sample is kept.
 *
 * @param model Of any mode.
 * @throws {InputError} for a text shorter than one window.
 */
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
): Promise<MeasuredCandidates> {
  const { geometry } = model.header;
  const maxTokens = maxWindows * trainingWindowTokens(geometry.contextLength);
  let curves: StreamedCurves | null = null;
  const sinkFor = (downNorms: readonly Float64Array[]) => {
    curves = new StreamedCurves(kernels, neuronGrid(geometry), predictors, downNorms);
    return curves;
  };
  const recording = { maxTokens, isHeldOut: () => true, onProgress, signal };
  const { downNorms } = await recordTextInto(sinkFor, model, text, recording);
  const measured = curves as StreamedCurves | null;
  assert(measured, "a recording has a sink");
  return {
    downNorms,
    curves: downNorms.map((_, l) =>
      measured.layer(l).map((curve, p) => ({ curve, bytes: predictorBytes(predictors[p]!.layers[l]!) })),
    ),
  };
}

/** Bytes that {@link measureCandidates} holds beside its engine. */
export function measuringBytes(
  { header }: Model,
  { predictors, kernels }: Pick<CalibrateOptions, "predictors" | "kernels">,
): number {
  const curves = streamedCurvesBytes(kernels, neuronGrid(header.geometry), predictors);
  return recordingBytes(header) + heldPredictorBytes(predictors) + curves;
}

/** Of each layer the predictor that takes the most room. */
function largest({ predictors }: CalibrateOptions): Predictor {
  const [first, ...others] = predictors;
  const layers = first!.layers.map((layer, l) =>
    others.map((other) => other.layers[l]!).reduce((a, b) => (predictorBytes(b) > predictorBytes(a) ? b : a), layer),
  );
  return { ...first!, layers };
}

/** How likely a named neuron of each layer is to be read; even where nobody knows, or nothing is read. */
function readCosts(model: Model, { predictors, engine = {} }: CalibrateOptions): number[] {
  const { dFf, nLayers } = neuronGrid(model.header.geometry);
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

/** The text with this predictor, beside the dense model: both in one engine. */
async function evaluate(
  judged: JudgedModel,
  predictor: Predictor,
  downNorms: readonly Float64Array[],
  { text, maxWindows = 64, signal }: CalibrateOptions,
): Promise<EvaluateResult> {
  const model = await judged.with(predictor);
  const windowTokens = trainingWindowTokens(model.header.geometry.contextLength);
  const thresholdByLayer = predictor.layers.map(({ threshold }) => threshold);
  const windows = { windowTokens, maxWindows, signal };
  return await evaluateText(model, text, { against: "dense", thresholdByLayer, downNorms, ...windows });
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
async function alone(
  judged: JudgedModel,
  predictor: Predictor,
  downNorms: readonly Float64Array[],
  options: CalibrateOptions,
): Promise<number[]> {
  const rises: number[] = [];
  for (const layer of predictor.layers.keys()) {
    const layers = predictor.layers.map((of, l) => (l === layer ? of : { ...of, threshold: Number.NEGATIVE_INFINITY }));
    const { perplexity, against } = await evaluate(judged, { ...predictor, layers }, downNorms, options);
    rises.push(perplexity / against!.perplexity - 1);
    options.onProgress?.({ phase: "alone", loaded: layer + 1, total: predictor.layers.length, unit: "layers" });
  }
  return rises;
}
