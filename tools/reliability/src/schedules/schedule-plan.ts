/** What a seed means: which model runs in which mode, within which budget, on which threads and readers, and what is asked of it. Pure. */
import { Random } from "@flashwick/core";
import { CACHE_SCOPES, type CacheScope, type ModelOptions, type NeuronMode, POLICIES } from "@flashwick/runtime";
import { MODELS, type ScheduledModel } from "./schedule-models.js";

/** Who reads: at once, by promises, or the product's reader over threads. */
export const READER_KINDS = ["memory", "hopping", "threaded"] as const;
/** What is asked: sequences step by step, texts one after the other with drafts, or texts together. */
export const WORKS = ["sequences", "drafts", "together"] as const;

/** A schedule, as its seed alone says. */
export interface SchedulePlan {
  readonly seed: number;
  readonly model: ScheduledModel;
  readonly mode: NeuronMode;
  readonly kvPrecision: Exclude<ModelOptions["kvPrecision"], "auto" | undefined>;
  /** -Infinity names every neuron; undefined: the predictor's own. */
  readonly threshold: number | undefined;
  readonly work: (typeof WORKS)[number];
  /** Where the budget lies between the smallest that works and everything resident; null: none is given. */
  readonly budgetShare: number | null;
  readonly policy: NonNullable<ModelOptions["policy"]>;
  readonly cacheScope: CacheScope;
  readonly windowTokens: number | undefined;
  readonly overlap: boolean;
  readonly lookahead: boolean | undefined;
  readonly maxSequences: number;
  readonly threads: number;
  readonly reader: (typeof READER_KINDS)[number];
  readonly readers: number;
  readonly mergeGapBytes: number;
  readonly leavesCores: boolean;
}

/** Tokens that a sequence has room for. */
export const CONTEXT_TOKENS = 48;

/** Everything that is chosen before anything runs. */
export function planSchedule(seed: number): SchedulePlan {
  const random = new Random(seed, 1);
  const one = <T>(of: readonly T[]): T => of[random.below(of.length)]!;
  const model = one(MODELS);
  const mode = one<NeuronMode>(model.isSparse ? ["predicted", "predicted", "dense", "oracle"] : ["dense"]);
  return {
    seed,
    model,
    mode,
    kvPrecision: one(["f32", "f16", "int8"] as const),
    threshold: mode === "predicted" && random.below(4) === 0 ? Number.NEGATIVE_INFINITY : undefined,
    work: one(WORKS),
    budgetShare: one([0, 0, 0.1, 0.3, 0.6, 1, null]),
    policy: one(POLICIES),
    cacheScope: model.hasExperts ? one(CACHE_SCOPES) : "layer",
    windowTokens: one([undefined, undefined, 1, 2, 5]),
    overlap: random.below(4) > 0,
    lookahead: one([undefined, true, false]),
    maxSequences: 1 + random.below(4),
    threads: 1 + random.below(4),
    reader: one(READER_KINDS),
    readers: 1 + random.below(5),
    mergeGapBytes: one([0, 64, 1024, 65536]),
    leavesCores: random.below(2) === 0,
  };
}

/** Everything resident, one thread, no drafts, nothing beside: what a schedule must give the bits of. The same name, the same reference. */
export function referenceName({ model, mode, kvPrecision, threshold }: SchedulePlan): string {
  const isDense = mode !== "predicted" || threshold === Number.NEGATIVE_INFINITY;
  return `${model.name}, ${isDense ? "dense" : "predicted"}, ${kvPrecision}`;
}
