/** What evaluating a model on a text is asked for, and what it finds. */
import type { OnProgress, SparsityStatistics } from "@flashwick/core";
import type { Comparison } from "./compared-run.js";

/** Windows of a text, and what they are compared with. */
export interface EvaluateOptions extends Comparison {
  /** Tokens of a window, BOS included; default 256. */
  readonly windowTokens?: number;
  readonly maxWindows?: number;
  /** Scores above which each layer's neurons are named; default: the predictor's own. */
  readonly thresholdByLayer?: readonly number[] | undefined;
  /** ‖down_i‖₂ of every neuron, f64 `[dFf]` by layer. Default: read from the model, all of it. */
  readonly downNorms?: readonly Float64Array[] | undefined;
  /** Slots of the cache that flash bytes are counted with, by layer. Default: those of the engine. */
  readonly slotsByLayer?: readonly number[] | undefined;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Quality of a run on a text, beside what it reads. */
export interface EvaluateResult {
  readonly perplexity: number;
  /** Natural logarithm, per token. */
  readonly meanNll: number;
  readonly tokens: number;
  readonly windows: number;
  readonly against: {
    readonly perplexity: number;
    readonly meanNll: number;
    /** Share of positions whose largest logit is the same token. */
    readonly top1Agreement: number;
    /** KL(other ‖ this), natural logarithm. */
    readonly meanKl: number;
    readonly maxKl: number;
  } | null;
  /**
   * Shares of `dFf`, by layer. Of a mixture these figures are of experts: active are those that the model's routers choose, named those that were used, and
   * masses are router weights.
   */
  readonly activeShareByLayer: readonly number[];
  readonly namedShareByLayer: readonly number[];
  /** Named and active over active; 1 when dense. */
  readonly recall: number;
  readonly recallByLayer: readonly number[];
  /** Σ over missed |act_i|·‖down_i‖ over the same sum for all active neurons. */
  readonly missedMass: number;
  readonly missedMassByLayer: readonly number[];
  /** Named neurons over truly active ones. */
  readonly namedOverActive: number;
  /** What is named token after token (dense: what is active), for the cost model. */
  readonly sparsity: SparsityStatistics;
  /** What decoding these windows token by token through the cache reads for neurons or experts, per token, without looking ahead; in pruned mode what was read. */
  readonly flashBytesPerToken: number;
}

/** What is not about quality. */
export type UnitResult = Omit<EvaluateResult, "perplexity" | "meanNll" | "tokens" | "windows" | "against">;
