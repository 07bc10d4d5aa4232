/** What a schedule has seen of a model, to be compared with the reference once the schedule is over. */
import type { GenerateOptions } from "@flashwick/runtime";
import type { HistoryEntry } from "./reference.js";

/** Logits after a sequence of tokens. */
export interface ObservedLogits {
  readonly history: readonly HistoryEntry[];
  readonly logits: Float32Array;
}

/** A text, whole or as far as its caller took it. */
export interface ObservedText {
  readonly prompt: readonly number[];
  readonly options: GenerateOptions;
  /** The dense model's text is expected, whatever the mode. */
  readonly lossless: boolean;
  readonly tokens: readonly number[];
  readonly logprobs: string;
  readonly isWhole: boolean;
}

/** Everything that a schedule has seen. */
export interface Observed {
  readonly logits: ObservedLogits[];
  readonly texts: ObservedText[];
  /** What broke a promise other than that of the bits: one sentence each. */
  readonly faults: string[];
  /** Requests that were cancelled half-way. */
  cancels: number;
}

/** Nothing yet. */
export function nothingObserved(): Observed {
  return { logits: [], texts: [], faults: [], cancels: 0 };
}
