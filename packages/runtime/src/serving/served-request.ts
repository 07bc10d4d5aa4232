/** What a text scheduler is asked for, and what it gives. */
import type { FinishReason } from "../growing-text.js";
import type { SamplingOptions } from "../sampler.js";
import type { TokenConstraint } from "../token-constraint.js";
import type { TokenLogprob } from "../token-logprob.js";
import type { PrefixStore } from "./prefix-store.js";

/** How many requests may wait, and where prompts are kept. */
export interface SchedulerOptions {
  /** Requests that may wait while every sequence is in use; one more is refused with a `QueueFullError`. Default 16. */
  readonly maxQueue?: number;
  /** Where prompts are kept beyond the process, and looked for. Default: they are kept as long as no other text needs their place. */
  readonly prefixStore?: PrefixStore;
}

/** A text that is asked of a scheduler. */
export interface ServedRequest extends SamplingOptions {
  /** Token ids; no special token is added. */
  readonly prompt: readonly number[];
  /** The text also ends where the context does. */
  readonly maxTokens: number;
  /** Texts that end the generation; they are not part of the text. */
  readonly stop?: readonly string[];
  /** Go on after the end-of-sequence token. */
  readonly ignoreEos?: boolean;
  /** A grammar that the text must follow. It belongs to this request alone. */
  readonly constraint?: TokenConstraint;
  /** Log probabilities of so many of the likeliest tokens beside the chosen one; 0: of the chosen one only. Default: none. */
  readonly topLogprobs?: number;
  /** Ends the text within one token; its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** One token of a text that a scheduler generates. */
export interface ServedToken {
  /** Text that this token completes; empty while a character or a stop text is unfinished. */
  readonly text: string;
  /** Null for the last item, which only ends the text. */
  readonly token: number | null;
  /** Null unless `topLogprobs` asks for it, and for the last item. */
  readonly logprob: TokenLogprob | null;
  /** Null but for the last item. */
  readonly finishReason: FinishReason | null;
}

/** What a text of a scheduler came to. */
export interface ServedSummary {
  readonly promptTokens: number;
  /** Tokens of the prompt that an earlier or a running text had computed, or that were stored. */
  readonly reusedTokens: number;
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
  /** Milliseconds until the text got a sequence, from there to the logits after its prompt, and from there to its end. */
  readonly queuedMs: number;
  readonly promptMs: number;
  readonly decodeMs: number;
  /** The text's share of what its steps read and found in the caches. Every token of a step has an equal share, so they need not be integers. */
  readonly flashBytes: number;
  readonly hits: number;
  readonly misses: number;
}
