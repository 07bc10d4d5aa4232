/** Settings that nobody has chosen, chosen by the cost model. Pure. */
import { isFlashwickError } from "@flashwick/core";
import type { DeviceProfile, RunPlan } from "@flashwick/cost-model";
import type { ModelHeader } from "@flashwick/flash-format";
import type { ScratchSizes } from "@flashwick/kernels";
import { estimate, type PredictorShapes } from "../estimate.js";
import type { ModelOptions } from "../model-options.js";

/** What the user has asked for; `auto` and absent settings are to be chosen. */
export interface SettingsWish extends Omit<ModelOptions, "hotExperts"> {
  readonly readers?: number | "auto";
  readonly threads?: number | "auto";
  readonly io?: "auto" | "buffered";
}

/**
 * What the cost model chooses for a model, where there is something to choose by. Null: without a profile, in oracle mode, without statistics of
 * the predictor; a budget that is too small is for the model to refuse.
 */
export function planSettings(
  header: ModelHeader,
  predictor: PredictorShapes | null,
  profile: DeviceProfile | null,
  options: SettingsWish,
  scratch: (threads: number) => ScratchSizes,
): RunPlan | null {
  const { mode, threshold, readers, threads, mergeGapBytes, windowTokens, overlap, io, kvPrecision = "auto" } = options;
  // The cost model has no price of pruned FFNs, and none is needed for study.
  if (profile === null || mode === "oracle" || mode === "pruned" || options.pruning) return null;
  // Another threshold names another share than the statistics say; the profile is of direct reads.
  if (threshold !== undefined || io === "buffered") return null;
  if (predictor !== null && predictor.sparsity === null) return null;
  // For the model to refuse, with its reasons.
  if (predictor === null && mode === "predicted") return null;
  const fixed = {
    ...(mode === undefined ? {} : { mode }),
    ...(typeof readers === "number" ? { readers } : {}),
    ...(typeof threads === "number" ? { threads } : {}),
    ...(mergeGapBytes === undefined ? {} : { mergeGapBytes }),
    ...(windowTokens === undefined ? {} : { windowTokens }),
    ...(overlap === undefined ? {} : { overlap }),
  };
  const dramBudgetBytes = options.dramBudgetBytes ?? null;
  try {
    return estimate(header, { profile, predictor, dramBudgetBytes, scratch, kvPrecision, fixed });
  } catch (error) {
    if (isFlashwickError(error) && error.code === "BUDGET_TOO_SMALL") return null;
    throw error;
  }
}
