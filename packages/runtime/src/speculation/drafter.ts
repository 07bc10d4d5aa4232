/** Who proposes tokens that the verifying model then checks all at once. */
import type { TokenStats } from "@flashwick/core";
import type { ForwardObserver } from "../forward-observer.js";
import type { Sampler } from "../sampler.js";
import type { Sequence } from "../sequence.js";

/** Where a text stands when drafts are wanted. */
export interface DraftContext {
  /** Holds all tokens but the pending one. */
  readonly sequence: Sequence;
  /** The last token of the text: chosen, and not computed yet. */
  readonly pending: number;
  /** How the verifying model's logits become tokens; drafts are chosen likewise, so that they agree where the logits do. */
  readonly sampler: Sampler;
  /** Number of the next token to be chosen, for the sampler. */
  readonly index: number;
  /** Looks into what is computed with the sequence's own engine. */
  readonly observer?: ForwardObserver | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Proposes tokens that one step then verifies. */
export interface Drafter {
  /** For reports: `sparse`, `lookup`, `draft`. */
  readonly name: string;
  /**
   * Proposes the tokens after the pending one, at most `most`; none where it has nothing to say. Leaves the sequence as it was.
   *
   * @returns The tokens, and what computing them cost.
   */
  propose(context: DraftContext, most: number): Promise<Draft>;
  /** Releases what it holds. */
  close(): Promise<void>;
}

/** Proposed tokens, and what they cost. */
export interface Draft {
  readonly tokens: readonly number[];
  readonly costs: readonly TokenStats[];
}

export const NO_DRAFT: Draft = { tokens: [], costs: [] };
