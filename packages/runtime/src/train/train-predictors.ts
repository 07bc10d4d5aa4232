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
  neuronCount,
  neuronGrid,
  type OnProgress,
  type Predictor,
  type Progress,
  type SparsityStatistics,
} from "@flashwick/core";
import { crc32c, type ModelHeader } from "@flashwick/flash-format";
import { provokeCollection } from "@flashwick/kernels-wasm/node";
import {
  DEFAULT_PREDICTOR_SHARE,
  finishPredictors,
  isHeldOut,
  planRanks,
  probeRanks,
  type RankBudget,
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
  /** `auto` (default): by layer, where rank gains most, within `share`. */
  readonly rank?: "auto" | number;
  /** Predictor weights as a share of the model's, for `rank: "auto"`; default 0.055. */
  readonly share?: number | undefined;
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
  /** Predictor weights over model weights. */
  readonly parameterShare: number;
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
  const { nLayers, dModel, dFf } = neuronGrid(header.geometry);
  const { workers = availableParallelism() } = options;
  // Without workers, tasks come one after the other on this thread.
  const pool = (phase: string, tasks: number, atOnce: number): PoolOptions => ({
    workers: workers === 0 ? 0 : atOnce,
    onProgress: sumProgress(phase, tasks, options.onProgress),
    signal: options.signal,
    launch: options.launch,
  });
  const budget = trainingBudget(parts, context, options);
  const parameters = countParameters(header);
  // Some layers get their part of what all of them would.
  const share = ((options.share ?? DEFAULT_PREDICTOR_SHARE) * layerNumbers.length) / nLayers;
  const rankBudget: RankBudget = { dModel, dFf, modelParameters: parameters, share };
  checkBudget(budget, rankBudget, nLayers, layerNumbers, options);
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
  const chooseRanks = async () => {
    const ranks = probeRanks(layerNumbers.length, rankBudget);
    const { atOnce, preloadBytes } = budget.trainings(layerNumbers.length, ranks, []);
    const tasks = tasksOf(preloadBytes).map((task) => ({ ...task, kind: "probe" as const, ranks }));
    return planRanks(await runTasks<"probe">(context, tasks, pool("probe", tasks.length, atOnce)), rankBudget);
  };
  const ranks = typeof options.rank === "number" ? layerNumbers.map(() => options.rank as number) : await chooseRanks();
  const { atOnce, preloadBytes } = budget.trainings(layerNumbers.length, ranks, ranks);
  const tasks = tasksOf(preloadBytes).map((task, i) => ({ ...task, kind: "train" as const, rank: ranks[i]! }));
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
    parameterShare: (ranks.reduce((sum, rank) => sum + rank, 0) * (dModel + dFf)) / parameters,
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

/**
 * A budget that is too small is refused before hours of recording. Where ranks are chosen on the way, as if all layers were given the same.
 *
 * @throws {BudgetError} with the smallest that would do.
 */
function checkBudget(
  budget: TrainingBudget,
  ranks: RankBudget,
  nLayers: number,
  layerNumbers: readonly number[],
  { rank = "auto" }: TrainPredictorsOptions,
): void {
  // The upper of the ranks that are probed.
  const expected = rank === "auto" ? probeRanks(layerNumbers.length, ranks)[1] : rank;
  budget.check(Array.from({ length: nLayers }, (_, layer) => (layerNumbers.includes(layer) ? expected : 1)));
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

/** Weights of a model: what is resident and what lies in records. */
export function countParameters(header: ModelHeader): number {
  const { geometry } = header;
  let resident = 0;
  for (const { rows, cols } of header.tensors.values()) resident += rows * cols;
  return resident + 2 * neuronCount(geometry) * geometry.dModel;
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
