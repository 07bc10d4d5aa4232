/**
 * What a model will do on a device within a budget, before anything but its header is read: the cost model, fed with the sizes that the
 * engine itself allocates by.
 */
import { hasResidentGate, InputError, type PredictorLayerShape, type SparsityStatistics } from "@flashwick/core";
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
  powerLawLayer,
  type RunLength,
  type RunPlan,
  UNION_TOKENS,
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
  /** Of what resident gates name. Default: what the predictor names, thinned out to what it found active; without a predictor an assumption. */
  readonly gateSparsity?: SparsityStatistics | null;
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
  const gateSparsity = hasResidentGate(header) ? gateStatistics(options, sparsity, layers.length) : null;
  const plans = new Map<string, MemoryPlan>();
  const memory = ({ mode, mergeGapBytes, threads }: EngineSettings): MemoryPlan => {
    const key = `${mode} ${mergeGapBytes} ${threads}`;
    const known = plans.get(key);
    if (known) return known;
    const place = { kernels: scratch(threads), mergeGapBytes, maxArenaBytes: undefined };
    const wish = { budgetBytes: dramBudgetBytes, contextTokens, sequences: 1, kvPrecision };
    const plan = planMemory(memoryRequest(header, mode === "predicted" ? predictor : null, mode, place, wish));
    plans.set(key, plan);
    return plan;
  };
  const length = { promptTokens, decodeTokens, warmUpTokens };
  const shape = shapeOf(header, predictor);
  const { locality } = options;
  if (shape.mixture && locality) checkLocality(locality, shape.mixture);
  return { shape, profile, sparsity, gateSparsity, locality, length, fixed, memory };
}

function gateStatistics(
  { gateSparsity = null, predictor = null }: EstimateOptions,
  named: SparsityStatistics | null,
  nLayers: number,
): SparsityStatistics {
  if (gateSparsity) checkSparsity(gateSparsity, nLayers);
  return gateSparsity ?? (predictor && named ? activeOf(named, predictor) : assumedGates(nLayers));
}

/** What a predictor names is more than what is active, by a factor that its training has measured; unions of tokens are taken to shrink by it. */
function activeOf(named: SparsityStatistics, { layers }: PredictorShapes): SparsityStatistics {
  const thinned = named.layers.map((layer, index) => {
    const { trueActiveShare, namedShare } = layers[index]!;
    const factor = namedShare > 0 ? Math.min(1, trueActiveShare / namedShare) : 1;
    const times = (share: number) => factor * share;
    return { ...layer, unionShare: layer.unionShare.map(times), freshShare: layer.freshShare.map(times) };
  });
  return {
    ...named,
    source: `${named.source}, thinned out to the active share that training measured`,
    layers: thinned,
  };
}

/** ProSparse's Llama 2, as published: one neuron in ten fires. How unions grow is OPT's, of LLM in a flash. */
const ASSUMED_ACTIVE = 0.1;
const ASSUMED_EXPONENT = 0.5;

function assumedGates(nLayers: number): SparsityStatistics {
  return {
    source:
      "assumed: one gate in ten is open, as published of ProSparse's Llama 2; flashwick eval --gate-first measures it",
    unionTokens: UNION_TOKENS,
    layers: new Array(nLayers).fill(powerLawLayer(ASSUMED_ACTIVE, ASSUMED_EXPONENT, ASSUMED_ACTIVE)),
    clumping: null,
    namedQuantiles: null,
  };
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
