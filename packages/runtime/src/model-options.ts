/** What a model is made of, and how it and its requests are told to work. */
import type { DeviceLostError, OnProgress, Predictor, PredictorSource } from "@flashwick/core";
import type { DeviceProfile, KvPrecision, RunPlan } from "@flashwick/cost-model";
import type { UnitProfile } from "@flashwick/dram-cache";
import type { ModelFile } from "@flashwick/flash-format";
import type { FlashReader } from "@flashwick/flash-io";
import type { Arena, KernelFactory, Kernels } from "@flashwick/kernels";
import type { CachePolicyChoice } from "./cache-policy.js";
import type { ContextRange } from "./context-tokens.js";
import type { CacheScope, NeuronMode } from "./engine-config.js";
import type { ForwardObserver } from "./forward-observer.js";
import type { PruningPlan } from "./pruning/pruning-plan.js";
import type { SamplingOptions } from "./sampler.js";
import type { Sequence } from "./sequence.js";
import type { Drafter } from "./speculation/drafter.js";
import type { TokenConstraint } from "./token-constraint.js";

/** A plan, and whether what is in DRAM is preferred. */
export interface PruningChoice {
  /** As `parsePruningPlan` takes it, which is asked. */
  readonly plan: PruningPlan;
  /**
   * Above 0, at most 1 (DIP-CA): scores of what the caches of a file by columns lack are multiplied by it. Default 1: nothing is preferred; with any other
   * the output depends on what the caches hold, and so on the budget.
   */
  readonly gamma?: number | undefined;
}

/** How a model works: budget, mode, cache, contexts. */
export interface ModelOptions {
  /**
   * Bits of activations beside rows of ggml's blocks. 8 multiplies bytes, in relaxed SIMD: it is faster, and not exact to what the references give (docs/results/activation-bits.md
   * prices it). Needs Node 22, or Chromium 114; with the backends wasm and reference. Default: 15.
   */
  readonly activationBits?: 8 | undefined;
  /** Hard ceiling of DRAM for weights, cache, keys and values, activations and buffers. Default: everything resident. */
  readonly dramBudgetBytes?: number | undefined;
  /**
   * Tokens of keys and values that every sequence has room for: a number, or as many as the budget holds within a range, beside batches of four tokens of a prompt
   * (`model.contextTokens` then says how many). Default: what each request needs, so that a longer one loads the model anew; conversations
   * and servers say beforehand.
   */
  readonly contextTokens?: number | ContextRange | undefined;
  /** Sequences that may be open at once; each takes the memory of its keys and values. Default 1. */
  readonly maxSequences?: number | undefined;
  /**
   * `predicted` needs a predictor, `gate-first` a file with resident gates, `pruned` a plan. Default: `pruned` if there is a plan, else the first of the others
   * that there is, else dense.
   */
  readonly mode?: NeuronMode | undefined;
  /** What is left out of FFNs, by a plan; of a file that is read by columns, what of it DRAM lacks is all that is read. Prompts are dense. Default: nothing. */
  readonly pruning?: PruningChoice | undefined;
  /** Score (logit) above which a neuron is named; default: each layer's calibrated one. -Infinity names all. */
  readonly threshold?: number | undefined;
  /**
   * Prefers what is resident while decoding. Of neurons a logit: resident ones are named from a threshold lower by this much, better quality for no reads.
   * Of a mixture's experts a share of the range of a token's logits: resident ones rank higher by it, fewer reads for other experts than the router's.
   * Prompts, batches and scores are not touched. Default 0: with any other the output depends on what the cache holds.
   */
  readonly residentMargin?: number | undefined;
  /** With a margin, of a mixture: the router's first so many experts are used whatever is resident. Default 1. */
  readonly routerKeep?: number | undefined;
  /** Of a mixture: uses fewer experts of a layer than its router chooses, of prompts as well. Inexact. Default: as many as it chooses. */
  readonly expertsPerToken?: number | undefined;
  /**
   * Of a mixture: the experts that a workload used most, as dram-cache's `decodeProfile` reads them. As many as slots hold are read when the model is loaded,
   * and counted as loaded. Default: none.
   */
  readonly hotExperts?: UnitProfile | undefined;
  /** Default `window`, of a mixture of experts and by columns `lfu`. */
  readonly policy?: CachePolicyChoice["policy"] | undefined;
  /** Of a mixture of experts: each layer has slots of its own, or all layers of an arena share a pool. Default `layer`. */
  readonly cacheScope?: CacheScope | undefined;
  /** Tokens whose neurons stay; default: as many as fit. */
  readonly windowTokens?: number | undefined;
  /** Precision of keys and values; `auto` (default): the best that fits the budget. */
  readonly kvPrecision?: KvPrecision | "auto" | undefined;
  /** Unneeded bytes between two flash reads up to which they become one; default: what the device is best with. */
  readonly mergeGapBytes?: number | undefined;
  /**
   * Compute while reads fly. Default: as the platform found worth while. False waits for every read before computing anything. Either
   * way gives the same bits.
   */
  readonly overlap?: boolean | undefined;
  /** Guess and read ahead of each layer's attention; default: as the platform found worth while. Gives the same bits. */
  readonly lookahead?: boolean | undefined;
  /**
   * Where a device computes: called when it is lost while `generate` runs. After `"continue"` the model goes on with WebAssembly, from the prompt and the
   * tokens so far, as if it had never computed elsewhere. Default: the {@link DeviceLostError} is thrown.
   */
  readonly onDeviceLost?: ((error: DeviceLostError) => "continue" | "throw") | undefined;
  /** How long a request may wait for its caller to take a token while others wait for it, milliseconds; they are then refused. Default 60,000. */
  readonly idleTimeoutMs?: number | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** Ends whatever the model is doing, and closes it. */
  readonly signal?: AbortSignal | undefined;
}

/** What `openModel` of a platform hands over. */
export interface ModelParts {
  readonly file: ModelFile;
  readonly reader: FlashReader;
  readonly kernels: KernelFactory<Kernels>;
  readonly backend: string;
  readonly predictor: Predictor | PredictorSource | null;
  /** Milliseconds, monotonic. */
  readonly clock: () => number;
  readonly maxArenaBytes?: number;
  /** Arenas in shared memory: compute threads need it. */
  readonly sharedMemory?: boolean;
  /** Whether computing while single neurons are read pays here; default true. */
  readonly overlap?: boolean;
  /** Whether guessing ahead of attention pays here; default: where reads overlap. */
  readonly lookahead?: boolean | undefined;
  /** Of the kernels, where it is not the default. For reports. */
  readonly activationBits?: 8 | undefined;
  /** Threads that compute; default 1. For reports. */
  readonly threads?: number;
  /** What this machine can do: predictions stand on it. */
  readonly profile?: DeviceProfile | null;
  /** What `readers`, `threads` and the rest were chosen by, for people; null: by hand or by rule. */
  readonly plan?: RunPlan | null;
  /** Tells whoever computes that an arena will not be used any more. */
  readonly releaseArena?: (arena: Arena) => void;
  /** Frees the memory of arenas that nothing refers to any more. Default: the platform does so when it sees fit. */
  readonly freeDropped?: (() => void) | undefined;
  /** Where a device computes: what else can. */
  readonly withoutDevice?: Pick<ModelParts, "kernels" | "backend">;
  /** Ends what belongs to the model beside its reader and its file. */
  readonly onClose?: () => Promise<void>;
}

/** How a text is generated. */
export interface GenerateOptions extends SamplingOptions {
  /** Default 64. Generation also ends where the context does. */
  readonly maxTokens?: number;
  /** Texts that end the generation; they are not part of the text. */
  readonly stop?: readonly string[];
  /** Go on after the end-of-sequence token. */
  readonly ignoreEos?: boolean;
  /** A grammar that the text must follow. It belongs to this request alone; drafts follow it, too. */
  readonly constraint?: TokenConstraint | undefined;
  /** Log probabilities of so many of the likeliest tokens beside the chosen one; 0: of the chosen one only. Default: none. */
  readonly topLogprobs?: number | undefined;
  /**
   * A sequence of this model, which the prompt continues: what it holds is neither loaded nor computed again, and what is generated stays in it.
   * Default: the model's own, of which a beginning is reused that the prompt shares with what was prefilled before.
   */
  readonly sequence?: Sequence | undefined;
  /**
   * The dense model's output, bit for bit, at nearly the speed of the sparse path: the predictor's neurons, or what a pruning plan keeps, draft, a dense pass verifies
   * several tokens at once. Needs predicted or pruned mode. Default false.
   */
  readonly lossless?: boolean | undefined;
  /**
   * Who drafts tokens that one step then verifies; the output is the same. `lookup`: what followed when the text last ended like this. `auto`: the same,
   * while it pays. A {@link Drafter}: for instance another model. Default `off`.
   */
  readonly speculate?: "off" | "auto" | "lookup" | Drafter | undefined;
  /** Tokens drafted at once; default `auto`: chosen at every step, from what was accepted and what steps cost. */
  readonly draftTokens?: number | "auto" | undefined;
  /** Looks into the forward pass of every decoded token: with drafts, into the steps that verify them. */
  readonly observer?: ForwardObserver | undefined;
  /** Looks into the sparse path's passes over drafts, in a lossless run: `observer` does not see them, and its dense passes name nothing. */
  readonly draftObserver?: ForwardObserver | undefined;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}
