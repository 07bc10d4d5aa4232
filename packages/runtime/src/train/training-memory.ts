/**
 * What a training or a calibration holds in DRAM at once, and what of a budget is left for its engines. Pure.
 *
 * Counted is what this package allocates in proportion to model, predictors and windows: engines, samples in flight, curves, logits, training
 * buffers. Texts, Node itself and its threads stand beside the budget (README, "Memory").
 */
import { BudgetError, formatBytes, neuronCount, neuronGrid } from "@flashwick/core";
import type { MemoryPlan } from "@flashwick/cost-model";
import { cacheBookkeepingBytes } from "@flashwick/dram-cache";
import type { ModelHeader } from "@flashwick/flash-format";
import { predictorBytes } from "@flashwick/predictor";
import { recorderBytes } from "@flashwick/predictor/train";
import { windowLogitBytes } from "../compared-run.js";
import { MOST_BATCH_TOKENS } from "../engine-sizes.js";
import { Model } from "../model.js";
import type { ModelOptions, ModelParts } from "../model-options.js";
import { trainingWindowTokens } from "./training-text.js";

/**
 * How every engine of a training is opened. Keys and values are f32 whatever the budget, so that no result depends on it; layers are
 * streamed whole, so that there are no gaps to read over.
 */
export const TRAINING_ENGINE = { kvPrecision: "f32", mergeGapBytes: 0 } as const satisfies ModelOptions;

/** The plan of an engine within a budget. @throws {BudgetError} with the smallest that would do. */
export type PlanEngine = (budgetBytes: number) => MemoryPlan;

/** Plans a training's engine: one window of text at a time. */
export function trainingPlan(parts: ModelParts, mode: "dense" | "predicted"): PlanEngine {
  const windowTokens = trainingWindowTokens(parts.file.header.geometry.contextLength);
  return (dramBudgetBytes) => new Model(parts, { ...TRAINING_ENGINE, mode, dramBudgetBytes }).plan(windowTokens);
}

/**
 * What of a budget an engine may take.
 *
 * @param besideBytes What else is held at the same time.
 * @param work For the message: "recording".
 * @throws {BudgetError} `BUDGET_TOO_SMALL` with the smallest budget that holds both.
 */
export function engineShare(work: string, budgetBytes: number, besideBytes: number, plan: PlanEngine): number {
  const smallest = smallestEngineBytes(plan) + besideBytes;
  if (budgetBytes < smallest) throw budgetTooSmall(work, budgetBytes, smallest);
  return budgetBytes - besideBytes;
}

export function smallestEngineBytes(plan: PlanEngine): number {
  let budgetBytes = 1;
  // A larger budget may come with more arenas, and with a longer context than was asked about first: ask until the answer stands.
  for (;;) {
    try {
      plan(budgetBytes);
      return budgetBytes;
    } catch (error) {
      if (!(error instanceof BudgetError)) throw error;
      budgetBytes = Number(error.details.smallestBudgetBytes);
    }
  }
}

/** How recordings are made: so many at once, each with an engine of so many bytes. */
export interface RecordingPlan {
  readonly atOnce: number;
  readonly engineBudgetBytes: number;
}

/**
 * Side by side if each then still takes as many tokens at a time as one alone would: else the model is read more often, and that costs
 * more than a second recording gains.
 *
 * @param most        Recordings at once.
 * @param besideBytes What each holds beside its engine.
 * @throws {BudgetError} with the smallest budget that one recording works in.
 */
export function planRecordings(
  budgetBytes: number,
  besideBytes: number,
  plan: PlanEngine,
  most: number,
): RecordingPlan {
  const alone = engineShare("recording", budgetBytes, besideBytes, plan);
  const shared = Math.floor(budgetBytes / most) - besideBytes;
  const isRoomy = shared >= smallestEngineBytes(plan) && plan(shared).batchTokens === plan(alone).batchTokens;
  return isRoomy ? { atOnce: most, engineBudgetBytes: shared } : { atOnce: 1, engineBudgetBytes: alone };
}

/** How trainings are run: so many at once, each with so many bytes of samples in memory. */
export interface TrainingLanes {
  readonly atOnce: number;
  readonly sampleBytes: number;
}

/**
 * @param heldBytes What is held whatever runs.
 * @param taskBytes What one training holds, samples apart, which may stay on disk.
 * @param most      Trainings at once.
 * @throws {BudgetError} with the smallest budget that one training works in.
 */
export function planTrainings(budgetBytes: number, heldBytes: number, taskBytes: number, most: number): TrainingLanes {
  const atOnce = Math.min(most, Math.floor((budgetBytes - heldBytes) / taskBytes));
  if (atOnce < 1) throw budgetTooSmall("training a layer", budgetBytes, heldBytes + taskBytes);
  return { atOnce, sampleBytes: Math.floor((budgetBytes - heldBytes) / atOnce) - taskBytes };
}

export function budgetTooSmall(work: string, budgetBytes: number, smallestBudgetBytes: number): BudgetError {
  return new BudgetError(
    "BUDGET_TOO_SMALL",
    `${work}: found a DRAM budget of ${formatBytes(budgetBytes)}, expected at least ${smallestBudgetBytes} bytes ` +
      `(${formatBytes(smallestBudgetBytes)}); give that much`,
    { details: { budgetBytes, smallestBudgetBytes } },
  );
}

/** Bytes that recording holds beside its engine: one batch of samples, and the norms of all neurons. */
export function recordingBytes({ geometry }: ModelHeader): number {
  return recorderBytes(neuronGrid(geometry), MOST_BATCH_TOKENS) + downNormBytes(geometry);
}

/** Bytes that judging a text holds beside its engine: a window's logits, which neurons are named of a batch, and the shadows of the caches. */
export function judgingBytes({ geometry }: ModelHeader): number {
  const { contextLength } = geometry;
  const { dFf, nLayers } = neuronGrid(geometry);
  const { fixedBytes, slotBytes } = cacheBookkeepingBytes(dFf);
  const shadows = nLayers * (fixedBytes + dFf * slotBytes);
  return windowLogitBytes(geometry, trainingWindowTokens(contextLength)) + MOST_BATCH_TOKENS * dFf + shadows;
}

/** Bytes of predictors on the heap, as they are stored. */
export function heldPredictorBytes(
  predictors: readonly { readonly layers: readonly Parameters<typeof predictorBytes>[0][] }[],
): number {
  return predictors.reduce((sum, { layers }) => sum + layers.reduce((all, layer) => all + predictorBytes(layer), 0), 0);
}

function downNormBytes(geometry: ModelHeader["geometry"]): number {
  return neuronCount(geometry) * Float64Array.BYTES_PER_ELEMENT;
}
