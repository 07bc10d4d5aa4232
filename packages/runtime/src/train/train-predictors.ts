/**
 * Learns the sparsity predictors of a model: record what its neurons do on a text, look how much rank each layer needs,
 * train each layer, calibrate all thresholds together.
 *
 * Reproducible: the result is a function of model, texts, options and seed, whatever the number of workers.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import {
  InputError,
  isSparse,
  neuronGrid,
  type OnProgress,
  type Predictor,
  type Progress,
  type SparsityStatistics,
} from "@flashwick/core";
import { crc32c, type ModelHeader, summariseModelFile } from "@flashwick/flash-format";
import { provokeCollection } from "@flashwick/kernels-wasm/node";
import { type PredictorDType, predictorBytes } from "@flashwick/predictor";
import {
  DEFAULT_PREDICTOR_SHARE,
  finishPredictors,
  isHeldOut,
  isStorable,
  type PredictorSize,
  planProbe,
  planSizes,
  type SizeBudget,
  type TrainedLayer,
} from "@flashwick/predictor/train";
import { measureSparsity } from "../measure-sparsity.js";
import { Model } from "../model.js";
import type { ModelParts } from "../model-options.js";
import { openTrainingModel } from "./open-training-model.js";
import type { MarkedDocument } from "./record-activations.js";
import { type LaunchTrainer, type PoolOptions, runTasks } from "./task-pool.js";
import { TrainingBudget } from "./training-budget.js";
import { TRAINING_ENGINE } from "./training-memory.js";
import type { TaskContext } from "./training-task.js";
import { cutDocuments, spreadDocuments, type TrainingDocument, trainingWindowTokens } from "./training-text.js";
import { spreadLayers } from "./untrained-layer.js";

/** Recordings, side by side where they fit; fixed, since the order of samples depends on it. */
const PARTS = 2;
/** Held-out tokens to judge and calibrate on. */
const HELD_OUT_TOKENS = 16384;

/** Texts, ranks, workers and budget of a training. */
export interface TrainPredictorsOptions {
  /** Plain texts to learn from. */
  readonly texts: readonly string[];
  /** A text to judge and calibrate on; default: one document in twenty of `texts`, not trained on. */
  readonly evalText?: string | null;
  /** Training tokens at most; default 200 000. */
  readonly tokens?: number;
  /** `auto` (default): by layer, where a byte gains most, within `shareBytes`. */
  readonly rank?: "auto" | number;
  /** How weights are stored. `auto` (default): by layer, int8 or Q4_0, with the rank; of a given rank int8. */
  readonly dtype?: "auto" | PredictorDType;
  /** Bytes of the predictors over the model's weights in f16, for `rank: "auto"`; default 0.03. */
  readonly shareBytes?: number | undefined;
  /** Neurons named over neurons truly active; default 2.2. */
  readonly namedPerActive?: number | undefined;
  readonly epochs?: number;
  readonly seed?: number;
  /** Layers to train, both ends included; the others name every neuron. Default: all. */
  readonly layers?: { readonly first: number; readonly last: number } | undefined;
  /** Keeps samples and states here and goes on from what is there. Default: a temporary directory, removed at the end. */
  readonly resumeDir?: string | null;
  /** Worker threads; default: one per core. 0: on the calling thread. */
  readonly workers?: number;
  /**
   * Hard ceiling of DRAM of the whole training: engines, samples and training buffers of all workers together. The result does not depend on it.
   * Default: what the machine, or the control group of the process, has free.
   */
  readonly dramBudgetBytes?: number | undefined;
  readonly backend?: string;
  /** More facts for the predictor file. JSON values. */
  readonly facts?: Readonly<Record<string, unknown>>;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** For tests. */
export interface TrainingInternals {
  readonly launch?: LaunchTrainer | undefined;
}

/** The trained predictor, and how its training went. */
export interface TrainPredictorsResult {
  readonly predictor: Predictor;
  readonly trainTokens: number;
  readonly evalTokens: number;
  /** Bytes of the predictors over the model's weights in f16. */
  readonly byteShare: number;
  /** Loss and missed mass of each epoch, by layer. */
  readonly layers: readonly Pick<TrainedLayer, "layer" | "rank" | "epochs">[];
}

/**
 * @param modelPath A model file; its text tokenizer is needed.
 * @throws {InputError} for a text shorter than one window, or options out of range. {BudgetError} with the smallest budget that would do: before
 * anything is recorded, but where ranks are chosen on the way. The signal's reason when aborted.
 */
export async function trainPredictors(
  modelPath: string,
  options: TrainPredictorsOptions,
): Promise<TrainPredictorsResult> {
  return await trainOnThreads(modelPath, options);
}

/** The same, with the inside adjustable: tests run on sources, which a worker thread does not load by itself. */
export async function trainOnThreads(
  modelPath: string,
  options: TrainPredictorsOptions,
  { launch }: TrainingInternals = {},
): Promise<TrainPredictorsResult> {
  const { dramBudgetBytes: given } = options;
  const { model, dramBudgetBytes } = await openTrainingModel(modelPath, { dramBudgetBytes: given });
  try {
    checkTrainable(model);
    const { header } = model;
    const layers = chosenLayers(header.geometry.layers.length, options);
    const documents = planDocuments(model, options);
    const temporary = options.resumeDir ? null : await mkdtemp(join(tmpdir(), "flashwick-train-"));
    const context: TaskContext = {
      modelPath,
      backend: options.backend ?? "auto",
      directory: options.resumeDir ?? temporary!,
      identity: identify(header, documents),
      resume: Boolean(options.resumeDir),
      parts: PARTS,
      seed: options.seed ?? 0,
      epochs: options.epochs ?? 4,
      namedPerActive: options.namedPerActive ?? 2.2,
    };
    try {
      const bounded = { ...options, dramBudgetBytes, launch };
      const trained = await train(context, model, documents, layers, bounded);
      // Weights as they were trained, four times as large as those that are stored.
      provokeCollection();
      const engineBytes = trainingBudget(model.parts, context, bounded).measuring(trained.predictor);
      const sparsity = await measureHeldOut(model, trained.predictor, documents, engineBytes, options);
      return { ...trained, predictor: { ...trained.predictor, sparsity } };
    } finally {
      if (temporary) await rm(temporary, { recursive: true, force: true });
    }
  } finally {
    await model.close();
  }
}

function checkTrainable({ header, parts }: Model): void {
  const { geometry } = header;
  if (isSparse(geometry)) return;
  throw new InputError(
    "INPUT_INVALID",
    `${parts.file.source.name}: a predictor names neurons whose ReLU is not zero, but this model has ${geometry.layers[0]!.ffn.activation}`,
  );
}

function chosenLayers(nLayers: number, { layers }: TrainPredictorsOptions): number[] {
  const { first, last } = layers ?? { first: 0, last: nLayers - 1 };
  if (Number.isInteger(first) && Number.isInteger(last) && 0 <= first && first <= last && last < nLayers) {
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  }
  throw new InputError("INPUT_INVALID", `layers ${first} to ${last}, expected a range within 0 to ${nLayers - 1}`, {
    details: { first, last, nLayers },
  });
}

/** What to record: training documents, then held-out ones. */
function planDocuments(model: Model, options: TrainPredictorsOptions): MarkedDocument[] {
  const { bosTokenId, contextLength } = model.header.geometry;
  const windowTokens = trainingWindowTokens(contextLength);
  const { tokens = 200_000, seed = 0, evalText = null } = options;
  if (!(tokens >= windowTokens)) {
    throw new InputError("INPUT_INVALID", `tokens is ${tokens}, expected at least ${windowTokens}`);
  }
  const cut = (text: string) => cutDocuments(model.tokenizer.encode(text, false), bosTokenId, windowTokens);
  const all = options.texts.flatMap((text) => cut(text));
  if (all.length === 0) throw new InputError("INPUT_INVALID", "expected at least one text to learn from");
  const documentTokens = (documents: readonly TrainingDocument[]) =>
    (documents.reduce((sum, { windows }) => sum + windows.length, 0) / documents.length) * windowTokens;
  const count = Math.max(2, Math.round(tokens / documentTokens(all)));
  const documents = spreadDocuments(all, count);
  if (evalText === null) {
    if (documents.length < 2) {
      throw new InputError("INPUT_INVALID", "the text is too short to hold a part out; give more text, or --eval-text");
    }
    return documents.map((document, i) => ({ ...document, heldOut: isHeldOut(i, seed) }));
  }
  const judged = cut(evalText);
  const held = spreadDocuments(judged, Math.max(1, Math.round(HELD_OUT_TOKENS / documentTokens(judged))));
  return [
    ...documents.map((document) => ({ ...document, heldOut: false })),
    ...held.map((document) => ({ ...document, heldOut: true })),
  ];
}

/** Options with the budget resolved. */
type BoundedOptions = TrainPredictorsOptions & TrainingInternals & { readonly dramBudgetBytes: number };

async function train(
  context: TaskContext,
  { header, parts }: Model,
  documents: readonly MarkedDocument[],
  layerNumbers: readonly number[],
  options: BoundedOptions,
): Promise<TrainPredictorsResult> {
  const { nLayers } = neuronGrid(header.geometry);
  const { workers = availableParallelism() } = options;
  // Without workers, tasks come one after the other on this thread.
  const pool = (phase: string, tasks: number, atOnce: number): PoolOptions => ({
    workers: workers === 0 ? 0 : atOnce,
    onProgress: sumProgress(phase, tasks, options.onProgress),
    signal: options.signal,
    launch: options.launch,
  });
  const budget = trainingBudget(parts, context, options);
  const sizeBudget = sizeBudgetOf(header, layerNumbers.length, options);
  checkSizes(budget, sizeBudget, nLayers, layerNumbers, options);
  const { atOnce: recordings, engineBudgetBytes } = budget.recordings();
  const records = Array.from({ length: PARTS }, (_, part) => ({
    kind: "record" as const,
    part,
    documents: documents.filter((_, i) => i % PARTS === part),
    dramBudgetBytes: engineBudgetBytes,
  }));
  const [downNorms] = await runTasks<"record">(context, records, pool("record", PARTS, recordings));
  const tasksOf = (preloadBytes: number) =>
    layerNumbers.map((layer) => ({ layer, downNorms: downNorms![layer]!, preloadBytes }));
  const chooseSizes = async () => {
    const { ranks, dtypes } = planProbe(layerNumbers.length, sizeBudget);
    const { atOnce, preloadBytes } = budget.trainings(layerNumbers.length, probedSizes(ranks), []);
    const tasks = tasksOf(preloadBytes).map((task) => ({ ...task, kind: "probe" as const, ranks, dtypes }));
    return planSizes(await runTasks<"probe">(context, tasks, pool("probe", tasks.length, atOnce)), sizeBudget);
  };
  const given = givenSize(options);
  const sizes = given ? layerNumbers.map(() => given) : await chooseSizes();
  const { atOnce, preloadBytes } = budget.trainings(layerNumbers.length, sizes, sizes);
  const tasks = tasksOf(preloadBytes).map((task, i) => ({ ...task, kind: "train" as const, size: sizes[i]! }));
  const trained = await runTasks<"train">(context, tasks, pool("train", tasks.length, atOnce));
  const { namedPerActive, seed } = context;
  const numbered = trained.map((layer, i) => ({ ...layer, layer: i }));
  const some = finishPredictors(numbered, {
    modelFingerprint: header.fingerprint,
    namedPerActive,
    training: { seed, ...options.facts },
  });
  return {
    predictor: spreadLayers(some, layerNumbers, nLayers),
    trainTokens: trained[0]!.trainTokens,
    evalTokens: trained[0]!.curve.tokens,
    byteShare: some.layers.reduce((sum, layer) => sum + predictorBytes(layer), 0) / f16Bytes(header),
    layers: trained.map(({ layer, rank, epochs }) => ({ layer, rank, epochs })),
  };
}

function trainingBudget(
  parts: ModelParts,
  { backend }: TaskContext,
  { dramBudgetBytes, workers = availableParallelism() }: BoundedOptions,
): TrainingBudget {
  return new TrainingBudget(parts, { dramBudgetBytes, workers, backend, recordings: PARTS });
}

/** Some layers get their part of what all of them would. */
function sizeBudgetOf(
  header: ModelHeader,
  trainedLayers: number,
  { shareBytes = DEFAULT_PREDICTOR_SHARE, dtype = "auto" }: TrainPredictorsOptions,
): SizeBudget {
  const { nLayers, dModel, dFf } = neuronGrid(header.geometry);
  const maxBytes = (shareBytes * f16Bytes(header) * trainedLayers) / nLayers;
  return { dModel, dFf, maxBytes, ...(dtype === "auto" ? {} : { dtypes: [dtype] }) };
}

/** The size of every layer, where the rank is no question. */
function givenSize({ rank = "auto", dtype = "auto" }: TrainPredictorsOptions): PredictorSize | null {
  return rank === "auto" ? null : { rank, dtype: dtype === "auto" ? "int8" : dtype };
}

/** Probes train f32 weights and round them after. */
function probedSizes(ranks: readonly number[]): PredictorSize[] {
  return ranks.map((rank) => ({ rank, dtype: "f32" }));
}

/**
 * A budget that is too small, or a size that cannot be stored, is refused before hours of recording. Where sizes are chosen on the way, as if all layers
 * were given the larger of those that are probed.
 *
 * @throws {BudgetError} with the smallest that would do. {InputError}.
 */
function checkSizes(
  budget: TrainingBudget,
  sizes: SizeBudget,
  nLayers: number,
  layerNumbers: readonly number[],
  options: TrainPredictorsOptions,
): void {
  const given = givenSize(options);
  if (given && !isStorable(given, sizes.dModel)) {
    const message = `predictors of rank ${given.rank} in ${given.dtype}: expected a rank, and a dModel, that are multiples of 32; found ${given.rank} and ${sizes.dModel}`;
    throw new InputError("INPUT_INVALID", message, { details: { ...given, dModel: sizes.dModel } });
  }
  const expected = given ?? probedSizes(planProbe(layerNumbers.length, sizes).ranks)[1]!;
  budget.check(Array.from({ length: nLayers }, (_, layer) => (layerNumbers.includes(layer) ? expected : null)));
}

/** What the new predictor names of the held-out windows, token after token. */
async function measureHeldOut(
  { parts }: Model,
  predictor: Predictor,
  documents: readonly MarkedDocument[],
  dramBudgetBytes: number,
  { onProgress, signal }: TrainPredictorsOptions,
): Promise<SparsityStatistics> {
  const windows = documents.filter(({ heldOut }) => heldOut).flatMap((document) => document.windows);
  // Shares the dense model's file and threads, which end with it.
  const model = new Model({ ...parts, predictor }, { ...TRAINING_ENGINE, mode: "predicted", dramBudgetBytes });
  const measure = { source: "held-out text", onProgress, signal };
  const named = await measureSparsity(model, windows, measure).finally(() => model.unload());
  const activeShare = (layer: number) => predictor.layers[layer]!.trueActiveShare;
  return { ...named, layers: named.layers.map((layer, l) => ({ ...layer, activeShare: activeShare(l) })) };
}

/** Bytes of a model's weights if all were f16: what bytes of predictors are held against, whatever the file's own type. */
export function f16Bytes(header: ModelHeader): number {
  return 2 * countParameters(header);
}

/** Weights of a model: what is resident and what lies in records. */
function countParameters(header: ModelHeader): number {
  return summariseModelFile(header).parameters;
}

/** Anything that the samples depend on. */
function identify(header: ModelHeader, documents: readonly MarkedDocument[]): string {
  const text = new TextEncoder().encode(JSON.stringify(documents));
  return `${header.fingerprint} ${header.weights.dtype} documents ${crc32c(text).toString(16)}`;
}

/** One progress of several tasks at once. */
function sumProgress(phase: string, tasks: number, onProgress: OnProgress | undefined): PoolOptions["onProgress"] {
  if (!onProgress) return undefined;
  const done = new Array<number>(tasks).fill(0);
  let unitTotal = 0;
  return (task, { phase: part, loaded, total, unit, detail }: Progress) => {
    // Loading weights is counted in bytes, the work itself in tokens or steps.
    if (part === "load") return;
    done[task] = total > 0 ? loaded / total : 1;
    unitTotal = Math.max(unitTotal, total);
    const share = done.reduce((sum, part) => sum + part, 0);
    const whole = { phase, loaded: Math.round(share * unitTotal), total: tasks * unitTotal, unit };
    onProgress(detail === undefined ? whole : { ...whole, detail });
  };
}
