/** How an engine works: what the user wishes, what was planned and what the platform is best with, resolved once. */
import type { CachePolicyChoice } from "./cache-policy.js";
import type { PruningPlan } from "./pruning/pruning-plan.js";

/** How the FFN chooses its neurons while decoding. `gate-first`: a resident gate names them, exactly. `pruned`: a plan says what is left out, in two stages. */
export type NeuronMode = "dense" | "predicted" | "gate-first" | "pruned" | "oracle";

/** What of FFNs is left out, and how much what DRAM lacks counts beside what it holds. */
export interface PlannedPruning {
  readonly plan: PruningPlan;
  /** Scores of what the caches lack are multiplied by it: 1 prefers nothing. */
  readonly gamma: number;
}

/** Whether each layer's experts have slots of their own, or all layers share them. */
export const CACHE_SCOPES = ["layer", "pool"] as const;
/** Whether slots belong to a layer or to all of them. */
export type CacheScope = (typeof CACHE_SCOPES)[number];

/** How an engine works, with every default filled in. */
export interface EngineConfig {
  readonly mode: NeuronMode;
  readonly policy: CachePolicyChoice;
  /** In pruned mode; else null. */
  readonly pruning: PlannedPruning | null;
  /** Of mixtures of experts; neurons' slots are always their layer's. */
  readonly cacheScope: CacheScope;
  /** Overrides the predictor's own thresholds. */
  readonly threshold: number | undefined;
  /**
   * Predicted mode: neurons that are resident already are named from a threshold lower by this much (a logit). Of a mixture: routers rank experts that are
   * resident higher by this share of the range of a token's logits. Above 0 the output depends on what the cache holds: the same prompt may give another
   * text after another one.
   */
  readonly residentMargin: number;
  /** Of a mixture with a margin: the experts of the largest logits that are used whatever is resident. */
  readonly routerKeep: number;
  /** Of a mixture: experts of a token, where its routers choose more; null: as many as they choose. */
  readonly expertsPerToken: number | null;
  /**
   * Missing neurons are read while resident ones are computed, and in parallel blocks while attention is; false waits for them
   * first.
   */
  readonly overlap: boolean;
  /** Streamed layers are read one chunk ahead of the compute: for steps of several tokens, whose compute is long, and for single tokens. */
  readonly readAhead: { readonly severalTokens: boolean; readonly oneToken: boolean };
  /**
   * Predicted mode, where attention comes before the FFN: before a layer's attention, its predictor guesses from the layer's input what it
   * will name from attention's output, so that reads fly during attention. Costs the predictor's time again. In a mixture of experts, the next layer's
   * router is asked early; `metered`: as far as flash is idle, and as long as it is right.
   */
  readonly lookahead: "off" | "metered" | "always";
  /** Unneeded bytes between two runs that are rather read than skipped. */
  readonly mergeGapBytes: number;
  /**
   * Where the tokens of a step use several sets, the layer is streamed in order if the cache lacks more than this share of its neurons, and else
   * read by neuron. Either way gives the same bits.
   */
  readonly streamShare: number;
}

/** What is wished, in order of precedence; undefined where nobody cares. */
export interface ConfigWishes {
  readonly mode: NeuronMode;
  readonly policy: CachePolicyChoice;
  readonly pruning?: PlannedPruning | null | undefined;
  readonly cacheScope?: CacheScope | undefined;
  readonly threshold?: number | undefined;
  readonly residentMargin?: number | undefined;
  readonly routerKeep?: number | undefined;
  readonly expertsPerToken?: number | undefined;
  readonly overlap?: boolean | undefined;
  readonly lookahead?: boolean | undefined;
  readonly mergeGapBytes?: number | undefined;
}

/** What the platform is best with. */
export interface PlatformDefaults {
  readonly overlap?: boolean | undefined;
  readonly lookahead?: boolean | undefined;
  readonly reader: { readonly mergeGapBytes: number; readonly readers: number };
}

/** A neuron that is read by itself takes about as long as two in a stream, where nothing was measured. */
const UNMEASURED_STREAM_SHARE = 0.5;
/** The room that gaps land in is at most this share of the budget, where nobody asks for more. */
const GAP_SHARE_OF_BUDGET = 1 / 1024;

function lookaheadOf(wish: boolean | undefined, isWorthwhile: boolean): EngineConfig["lookahead"] {
  if (wish !== undefined) return wish ? "always" : "off";
  return isWorthwhile ? "metered" : "off";
}

/** Whether a token's output depends on what the caches hold, so that tokens cannot be computed together, and drafts not verified. Null: it does not. */
export function cacheDependence({
  residentMargin,
  pruning,
}: Pick<EngineConfig, "residentMargin" | "pruning">): string | null {
  if (residentMargin > 0) return `residentMargin ${residentMargin}`;
  return pruning && prefersCached({ pruning }) ? `a pruning gamma of ${pruning.gamma}` : null;
}

/** Whether pruning prefers what the caches hold. */
export function prefersCached({ pruning }: Pick<EngineConfig, "pruning">): boolean {
  return pruning !== null && pruning.gamma < 1;
}

export function resolveConfig(
  wishes: ConfigWishes,
  platform: PlatformDefaults,
  dramBudgetBytes: number | undefined,
): EngineConfig {
  const overlap = wishes.overlap ?? platform.overlap ?? true;
  const gapLimit = Math.floor((dramBudgetBytes ?? Number.POSITIVE_INFINITY) * GAP_SHARE_OF_BUDGET);
  return Object.freeze({
    mode: wishes.mode,
    policy: wishes.policy,
    pruning: wishes.pruning ?? null,
    cacheScope: wishes.cacheScope ?? "layer",
    threshold: wishes.threshold,
    residentMargin: wishes.residentMargin ?? 0,
    routerKeep: wishes.routerKeep ?? 1,
    expertsPerToken: wishes.expertsPerToken ?? null,
    overlap,
    readAhead: { severalTokens: wishes.overlap ?? true, oneToken: overlap },
    lookahead: lookaheadOf(wishes.lookahead, platform.lookahead ?? (overlap && platform.reader.readers > 0)),
    mergeGapBytes: wishes.mergeGapBytes ?? Math.min(platform.reader.mergeGapBytes, gapLimit),
    streamShare: UNMEASURED_STREAM_SHARE,
  });
}
