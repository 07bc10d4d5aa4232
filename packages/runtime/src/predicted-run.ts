/** What the cost model expects of a run that is about to be, or has been, made: under the very plan that the engine allocates by. */
import type { PredictedRun, SparsityStatistics } from "@flashwick/core";
import {
  type DeviceProfile,
  denseSparsity,
  type EngineSettings,
  type ExpertLocality,
  type MemoryPlan,
  profileFor,
  type RunLength,
  runCost,
} from "@flashwick/cost-model";
import type { ModelHeader } from "@flashwick/flash-format";
import type { PredictorShapes } from "./estimate.js";
import { shapeOf } from "./model-shape.js";

export interface RunToPredict {
  readonly header: ModelHeader;
  readonly profile: DeviceProfile;
  readonly predictor: PredictorShapes | null;
  /** Default: the predictor's own. */
  readonly sparsity?: SparsityStatistics | null;
  /** How often a mixture's experts come back. Default: as published of others. */
  readonly locality?: ExpertLocality | undefined;
  readonly plan: MemoryPlan;
  readonly settings: EngineSettings;
  readonly length: Omit<RunLength, "batchTokens">;
}

/** @returns Null where nothing says how often what is named comes back: the predictor, or of gate first what is given. */
export function predictRun(run: RunToPredict): PredictedRun | null {
  const { header, predictor, locality, plan, settings } = run;
  const profile = profileFor(run.profile, plan.dram.total);
  const isPredicted = settings.mode === "predicted";
  const named = run.sparsity ?? (isPredicted ? predictor?.sparsity : null) ?? null;
  const sparsity = settings.mode === "dense" ? denseSparsity(header.geometry.layers.length) : named;
  if (sparsity === null) return null;
  const { slotsByLayer, streamNeurons, kvPrecision, batchTokens } = plan;
  const shape = shapeOf(header, isPredicted ? predictor : null);
  const length = { ...run.length, batchTokens };
  const request = { shape, profile, sparsity, locality, settings, slotsByLayer, streamNeurons, kvPrecision };
  const { token, prefill } = runCost(request, length);
  return {
    device: profile.name,
    tokenMs: token.totalMs,
    msPerToken: {
      predict: token.predictMs,
      cache: token.cacheMs,
      check: token.checkMs,
      readWait: token.exposedReadMs,
      attention: token.attentionMs,
      ffn: token.ffnMs,
      head: token.headMs,
    },
    flashMsPerToken: token.readMs,
    flashBytesPerToken: token.flashBytes,
    readsPerToken: token.flashReads,
    prefillMs: prefill.totalMs,
  };
}
