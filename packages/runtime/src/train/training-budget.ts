/** The budget of a training, phase by phase: how much runs at once, and what each may take. Pure. */
import { assert, neuronGrid, type Predictor, type PredictorSource } from "@flashwick/core";
import { layerTrainingBytes, type PredictorSize } from "@flashwick/predictor/train";
import { DEFAULT_PRELOAD_BYTES } from "@flashwick/predictor/train/node";
import type { ModelParts } from "../model-options.js";
import { kernelsOf } from "../node/open-model.js";
import {
  budgetTooSmall,
  engineShare,
  heldPredictorBytes,
  type PlanEngine,
  planRecordings,
  planTrainings,
  type RecordingPlan,
  recordingBytes,
  smallestEngineBytes,
  trainingPlan,
} from "./training-memory.js";
import { UNTRAINED_SIZE } from "./untrained-layer.js";

export interface TrainingBudgetOptions {
  /** Of everything that is in memory at once. */
  readonly dramBudgetBytes: number;
  /** Threads at most; 0 counts as 1. */
  readonly workers: number;
  readonly backend: string;
  /** Recordings of one text. */
  readonly recordings: number;
}

export class TrainingBudget {
  constructor(
    private readonly parts: ModelParts,
    private readonly options: TrainingBudgetOptions,
  ) {}

  /** @throws {BudgetError} if not even one recording fits; as the other phases, with the smallest budget of that phase. */
  recordings(): RecordingPlan {
    const { dramBudgetBytes, workers, recordings } = this.options;
    const atOnce = workers >= recordings ? recordings : 1;
    return planRecordings(dramBudgetBytes, recordingBytes(this.parts.file.header), this.#recordingPlan(), atOnce);
  }

  /**
   * @param tasks     Layers to be trained.
   * @param sizes That one task may train.
   * @param kept  Of trained layers, which stay in memory as f32 until all are there.
   */
  trainings(
    tasks: number,
    sizes: readonly PredictorSize[],
    kept: readonly PredictorSize[],
  ): { readonly atOnce: number; readonly preloadBytes: number } {
    const { dramBudgetBytes, workers, recordings } = this.options;
    const most = Math.min(Math.max(1, workers), tasks);
    const { taskBytes, keptBytes } = this.#trainingBytes(sizes, kept);
    const { atOnce, sampleBytes } = planTrainings(dramBudgetBytes, keptBytes, taskBytes, most);
    return { atOnce, preloadBytes: Math.min(DEFAULT_PRELOAD_BYTES, Math.floor(sampleBytes / recordings)) };
  }

  /** Bytes of the engine in which a trained predictor is measured. */
  measuring(predictor: Predictor): number {
    const plan = trainingPlan({ ...this.parts, predictor }, "predicted");
    const heldBytes = heldPredictorBytes([predictor]);
    return engineShare("measuring the predictor", this.options.dramBudgetBytes, heldBytes, plan);
  }

  /**
   * Asks about all phases at once.
   *
   * @param sizeByLayer Of every layer of the model, as far as it is known; null where none is trained.
   * @throws {BudgetError} with the smallest budget that all phases work in.
   */
  check(sizeByLayer: readonly (PredictorSize | null)[]): void {
    const trained = sizeByLayer.filter((size) => size !== null);
    const shapes = predictorOf(sizeByLayer, this.parts);
    const measuring = trainingPlan({ ...this.parts, predictor: shapes }, "predicted");
    const { taskBytes, keptBytes } = this.#trainingBytes(trained, trained);
    const smallest = Math.max(
      recordingBytes(this.parts.file.header) + smallestEngineBytes(this.#recordingPlan()),
      keptBytes + taskBytes,
      heldPredictorBytes([shapes]) + smallestEngineBytes(measuring),
    );
    const { dramBudgetBytes } = this.options;
    if (dramBudgetBytes < smallest) throw budgetTooSmall("training", dramBudgetBytes, smallest);
  }

  #recordingPlan(): PlanEngine {
    return trainingPlan({ ...this.parts, predictor: null }, "dense");
  }

  #trainingBytes(sizes: readonly PredictorSize[], kept: readonly PredictorSize[]) {
    const { dModel, dFf } = neuronGrid(this.parts.file.header.geometry);
    const { kernels } = kernelsOf(this.options.backend);
    const taskBytes = Math.max(...sizes.map((size) => layerTrainingBytes(kernels, { dModel, dFf }, size)));
    return { taskBytes, keptBytes: 4 * (dModel + dFf) * kept.reduce((sum, { rank }) => sum + rank, 0) };
  }
}

/** Shapes of a predictor that is yet to be trained, as it will be stored. */
function predictorOf(sizeByLayer: readonly (PredictorSize | null)[], { file }: ModelParts): PredictorSource {
  const { fingerprint, geometry } = file.header;
  const { dModel, dFf } = neuronGrid(geometry);
  const quality = { threshold: 0, trueActiveShare: 1, namedShare: 1, recall: 1, precision: 1, missedMass: 0 };
  const layers = sizeByLayer.map((size, layer) => {
    const { rank, dtype } = size ?? UNTRAINED_SIZE;
    const matrices = { w1: { dtype, rows: rank, cols: dModel }, w2: { dtype, rows: dFf, cols: rank } };
    return { ...quality, layer, rank, ...matrices };
  });
  const readLayer = () => {
    assert(false, "shapes are planned with, not run");
  };
  return { modelFingerprint: fingerprint, dModel, dFf, layers, sparsity: null, readLayer };
}
