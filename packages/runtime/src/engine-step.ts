/** What a step of an engine is asked for. */
import type { ForwardObserver } from "./forward-observer.js";

/** What a step needs of a `Sequence`. */
export interface StepSequence {
  /** Tokens whose keys and values are stored. */
  readonly length: number;
  /** Number of its page table: where the attention kernels find keys and values. */
  readonly table: number;
  /** A step that writes to it begins: until {@link stepEnds} it keeps its tokens and its pages. @throws As `Sequence.stepBegins`. */
  stepBegins(): void;
  /** That step has ended, well or not. */
  stepEnds(): void;
  /** Makes sure that `count` more tokens have pages to go to. @throws As `Sequence.reserve`. */
  reserve(count: number): Promise<void>;
  /** After the step: these tokens' keys and values are stored now. */
  commit(tokens: readonly number[], exact: boolean, promptLike: boolean): void;
}

/** A token and the sequence that it is appended to. */
export interface StepRow {
  readonly sequence: StepSequence;
  readonly token: number;
}

/** Which logits of a step are wanted, what the caches hold afterwards, and who looks on. */
export interface StepOptions {
  /** Which rows' logits are wanted, by name or by number, ascending; default `none`. */
  readonly logits?: "none" | "last" | "all" | readonly number[];
  /** Sees the logits of each wanted row; they are valid during the call only. */
  readonly onLogits?: (row: number, logits: Float32Array) => void;
  /** Where all neurons are used, in predicted mode: afterwards the caches hold what this many of the last tokens use. Default 0: the caches are left alone. */
  readonly seedTokens?: number;
  readonly observer?: ForwardObserver | undefined;
  readonly signal?: AbortSignal | undefined;
}
