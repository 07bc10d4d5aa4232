/**
 * The three kinds of work that a training consists of, as plain messages, so that a worker thread or the calling thread can
 * do them. What a task computes does not depend on where it runs, nor on how many run at once.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deserialize, serialize } from "node:v8";
import { assert, IoError, neuronGrid, type OnProgress } from "@flashwick/core";
import type { PredictorDType } from "@flashwick/predictor";
import {
  joinSamples,
  type LayerSamples,
  type LayerTrainingState,
  type PredictorSize,
  probeLayer,
  type SizeProbe,
  type TrainedLayer,
  trainLayer,
} from "@flashwick/predictor/train";
import { FileSampleStore, type OpenLayerSamples, openFileSamples } from "@flashwick/predictor/train/node";
import { kernelsOf, openModel } from "../node/open-model.js";
import { type MarkedDocument, recordActivations } from "./record-activations.js";
import { TRAINING_ENGINE } from "./training-memory.js";

/** Settings that every task of a training shares. */
export interface TaskContext {
  readonly modelPath: string;
  readonly backend: string;
  /** Where samples and states lie. */
  readonly directory: string;
  /** Changes with anything that the samples depend on. */
  readonly identity: string;
  readonly resume: boolean;
  /** Recordings made side by side. */
  readonly parts: number;
  readonly seed: number;
  readonly epochs: number;
  readonly namedPerActive: number;
}

export type TrainingTask =
  | {
      readonly kind: "record";
      readonly part: number;
      readonly documents: readonly MarkedDocument[];
      /** Of the engine. */
      readonly dramBudgetBytes: number;
    }
  | (LayerTask & {
      readonly kind: "probe";
      readonly ranks: readonly number[];
      readonly dtypes: readonly PredictorDType[];
    })
  | (LayerTask & { readonly kind: "train"; readonly size: PredictorSize });

interface LayerTask {
  readonly layer: number;
  readonly downNorms: Float64Array;
  /** A part's training samples are held in memory if they take no more than this. */
  readonly preloadBytes: number;
}

export interface TaskResult {
  readonly record: readonly Float64Array[];
  readonly probe: SizeProbe;
  readonly train: TrainedLayer;
}

export interface TaskEvents {
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Does one task. */
export async function runTask(
  context: TaskContext,
  task: TrainingTask,
  events: TaskEvents,
): Promise<TaskResult[keyof TaskResult]> {
  switch (task.kind) {
    case "record":
      return await record(context, task, events);
    case "probe":
      return await probe(context, task, events);
    case "train":
      return await train(context, task, events);
  }
}

async function record(
  context: TaskContext,
  { part, documents, dramBudgetBytes }: Extract<TrainingTask, { kind: "record" }>,
  events: TaskEvents,
): Promise<readonly Float64Array[]> {
  const model = await openModel(context.modelPath, {
    ...TRAINING_ENGINE,
    mode: "dense",
    predictor: null,
    dramBudgetBytes,
    backend: context.backend as "auto",
  });
  try {
    const { identity, resume } = context;
    const store = new FileSampleStore(partDirectory(context, part), neuronGrid(model.header.geometry), {
      identity: `${identity} part ${part}`,
      resume,
    });
    try {
      return await recordActivations(model, documents, () => store, events);
    } finally {
      store.close();
    }
  } finally {
    await model.close();
  }
}

async function probe(
  context: TaskContext,
  task: Extract<TrainingTask, { kind: "probe" }>,
  events: TaskEvents,
): Promise<SizeProbe> {
  const { layer, ranks, dtypes, downNorms } = task;
  const { identity, seed, namedPerActive } = context;
  const key = `${identity} ranks ${ranks} ${dtypes} seed ${seed} named ${namedPerActive}`;
  const path = join(context.directory, `layer-${layer}.probe`);
  const saved = context.resume ? readSaved<SavedProbe>(path, key) : null;
  if (saved) return saved.probe;
  const probed = await withSamples(context, task, (samples) =>
    probeLayer(kernelsOf(context.backend).kernels, samples, {
      ...{ ranks, dtypes, downNorms, seed, namedPerActive },
      ...given(events),
    }),
  );
  writeSaved<SavedProbe>(path, { key, probe: probed });
  return probed;
}

async function train(
  context: TaskContext,
  task: Extract<TrainingTask, { kind: "train" }>,
  events: TaskEvents,
): Promise<TrainedLayer> {
  const { layer, size, downNorms } = task;
  const key = `${context.identity} rank ${size.rank} ${size.dtype} epochs ${context.epochs} seed ${context.seed} named ${context.namedPerActive}`;
  const path = join(context.directory, `layer-${layer}.state`);
  const saved = context.resume ? readSaved<SavedTraining>(path, key) : null;
  if (saved?.trained) return saved.trained;
  const trained = await withSamples(context, task, (samples) =>
    trainLayer(kernelsOf(context.backend).kernels, samples, {
      ...size,
      downNorms,
      seed: context.seed,
      epochs: context.epochs,
      namedPerActive: context.namedPerActive,
      resume: saved?.state ?? null,
      onCheckpoint: (state) => writeSaved<SavedTraining>(path, { key, state, trained: null }),
      ...given(events),
    }),
  );
  writeSaved<SavedTraining>(path, { key, state: null, trained });
  return trained;
}

async function withSamples<T>(
  context: TaskContext,
  { layer, preloadBytes }: LayerTask,
  work: (samples: LayerSamples) => Promise<T>,
): Promise<T> {
  const opened: OpenLayerSamples[] = [];
  try {
    for (let part = 0; part < context.parts; part++) {
      opened.push(openFileSamples(partDirectory(context, part), layer, preloadBytes));
    }
    return await work(joinSamples(opened));
  } finally {
    for (const samples of opened) samples.close();
  }
}

/** Something on disk that holds for one training only. */
interface Saved {
  readonly key: string;
}

/** A layer's training: under way, or done. */
interface SavedTraining extends Saved {
  readonly state: LayerTrainingState | null;
  readonly trained: TrainedLayer | null;
}

interface SavedProbe extends Saved {
  readonly probe: SizeProbe;
}

function readSaved<T extends Saved>(path: string, key: string): T | null {
  try {
    const saved = deserialize(readFileSync(path)) as T;
    return saved.key === key ? saved : null;
  } catch {
    // Absent, cut short or of another version: then the work is done from the start, which is always right.
    return null;
  }
}

/** @throws {IoError} `IO_NO_SPACE`, `IO_WRITE`. */
function writeSaved<T extends Saved>(path: string, saved: T): void {
  try {
    writeFileSync(`${path}.partial`, serialize(saved));
    renameSync(`${path}.partial`, path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const isFull = code === "ENOSPC" || code === "EDQUOT";
    const advice = "free some space or check the device, then resume the training";
    throw new IoError(
      isFull ? "IO_NO_SPACE" : "IO_WRITE",
      `${path}: the state cannot be kept (${message}); ${advice}`,
      {
        cause,
      },
    );
  }
}

function partDirectory({ directory, parts }: TaskContext, part: number): string {
  assert(part < parts, "a part of the recording");
  return join(directory, `samples-${part}`);
}

/** Without keys that are undefined. */
function given({ onProgress, signal }: TaskEvents): { onProgress?: OnProgress; signal?: AbortSignal } {
  return { ...(onProgress ? { onProgress } : {}), ...(signal ? { signal } : {}) };
}
