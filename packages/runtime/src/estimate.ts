/**
 * What a model will do on a device within a budget, before anything but its header is read: the cost model, fed with the sizes that the
 * engine itself allocates by.
 */
import { InputError, type PredictorLayerShape, type SparsityStatistics } from "@flashwick/core";
import {
  checkLocality,
  checkSparsity,
  type DeviceProfile,
  type EngineSettings,
  type ExpertLocality,
  type KvPrecision,
  type MemoryPlan,
  type PlanRequest,
  planMemory,
  planRun,
  type RunLength,
  type RunPlan,
} from "@flashwick/cost-model";
import type { ModelHeader } from "@flashwick/flash-format";
import type { ScratchSizes } from "@flashwick/kernels";
import { memoryRequest } from "./engine-sizes.js";
import { shapeOf } from "./model-shape.js";

/** A predictor's file header, or a whole predictor: its shapes are enough. */
export interface PredictorShapes {
  readonly layers: readonly PredictorLayerShape[];
  readonly sparsity: SparsityStatistics | null;
}

/** What {@link estimate} prices, and on which device. */
export interface EstimateOptions {
  readonly profile: DeviceProfile;
  /** Null plans for everything to be resident. */
  readonly dramBudgetBytes: number | null;
  /** Default null: every neuron is named, layers are streamed. */
  readonly predictor?: PredictorShapes | null;
  /** Default: the predictor's own; one that has none needs them given. */
  readonly sparsity?: SparsityStatistics | null;
  /** How often a mixture's experts come back. Default: as published of others. */
  readonly locality?: ExpertLocality | undefined;
  /** Sizes of scratch depend on who computes, and on how many threads: more of them leave less for weights. */
  readonly scratch: (threads: number) => ScratchSizes;
  /** Longest sequence to be held. Default: prompt and decoded tokens. */
  readonly contextTokens?: number;
  /** Default 128 and 256, as in the paper. */
  readonly length?: Partial<Omit<RunLength, "batchTokens">>;
  readonly kvPrecision?: KvPrecision | "auto";
  /** Settings that are not to be chosen. */
  readonly fixed?: Partial<EngineSettings>;
}

/**
 * Plans a run of a model: what goes into DRAM, which settings, how long a token takes.
 *
 * @throws {BudgetError} `BUDGET_TOO_SMALL` with the smallest budget that would do.
 * @throws {InputError} `INPUT_INVALID` for a predictor that nothing is known of, or statistics that make no sense or are of another model.
 */
export function estimate(header: ModelHeader, options: EstimateOptions): RunPlan {
  return planRun(planRequest(header, options));
}

/** The question that {@link estimate} answers, for those who want to ask it again with something changed. @throws As it does. */
export function planRequest(header: ModelHeader, options: EstimateOptions): PlanRequest {
  const { profile, predictor = null, fixed = {}, kvPrecision = "auto", scratch, dramBudgetBytes } = options;
  const { promptTokens = 128, decodeTokens = 256, warmUpTokens = 0 } = options.length ?? {};
  const { contextLength, layers } = header.geometry;
  const contextTokens = options.contextTokens ?? Math.min(contextLength, promptTokens + warmUpTokens + decodeTokens);
  const sparsity = statisticsOf(options, layers.length);
  const plans = new Map<string, MemoryPlan>();
  const memory = ({ mode, mergeGapBytes, threads }: EngineSettings): MemoryPlan => {
    const key = `${mode} ${mergeGapBytes} ${threads}`;
    const known = plans.get(key);
    if (known) return known;
    const place = { kernels: scratch(threads), mergeGapBytes, maxArenaBytes: undefined };
    const wish = { budgetBytes: dramBudgetBytes, contextTokens, sequences: 1, kvPrecision };
    const plan = planMemory(memoryRequest(header, mode === "dense" ? null : predictor, mode, place, wish));
    plans.set(key, plan);
    return plan;
  };
  const length = { promptTokens, decodeTokens, warmUpTokens };
  const shape = shapeOf(header, predictor);
  const { locality } = options;
  if (shape.mixture && locality) checkLocality(locality, shape.mixture);
  return { shape, profile, sparsity, locality, length, fixed, memory };
}

function statisticsOf({ predictor, sparsity }: EstimateOptions, nLayers: number): SparsityStatistics | null {
  if (!predictor) return null;
  const statistics = sparsity ?? predictor.sparsity;
  if (statistics === null) {
    throw new InputError(
      "INPUT_INVALID",
      "this predictor does not say how often its neurons come back (it was trained before that was measured); give statistics, or train again",
    );
  }
  checkSparsity(statistics, nLayers);
  return statistics;
}
