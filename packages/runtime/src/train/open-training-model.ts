/** Opening a model to train or calibrate with, within a budget that is for all that these hold. */
import { BudgetError } from "@flashwick/core";
import type { Model } from "../model.js";
import { spareMemoryBytes } from "../node/machine-memory.js";
import { type OpenModelOptions, openModel } from "../node/open-model.js";

/** A model that a training has opened, and the budget that it came to. */
export interface OpenedForTraining {
  readonly model: Model;
  /** Given, or what the machine has free. */
  readonly dramBudgetBytes: number;
}

/**
 * Opens a model without a predictor, for its header, its tokenizer, and those who read and compute.
 *
 * @throws As `openModel`, but for a budget that is too small: whoever trains knows what it takes, and says so.
 */
export async function openTrainingModel(
  path: string,
  {
    dramBudgetBytes = spareMemoryBytes(),
    ...options
  }: Pick<OpenModelOptions, "dramBudgetBytes" | "onProgress" | "signal"> = {},
): Promise<OpenedForTraining> {
  const open = (budget: number) =>
    openModel(path, { ...options, mode: "dense", predictor: null, dramBudgetBytes: budget });
  try {
    return { model: await open(dramBudgetBytes), dramBudgetBytes };
  } catch (error) {
    if (!(error instanceof BudgetError)) throw error;
    // Opening allocates nothing.
    return { model: await open(Number.MAX_SAFE_INTEGER), dramBudgetBytes };
  }
}
