/** What pictures know of a step of decoding: a token, and those of the drafts after it that were accepted. */

/** What a neuron, or an expert, was for a step. */
export const STATE = { away: 0, resident: 1, awake: 2, fetched: 3 } as const;

/** A stretch of a step's time: a phase of computing, or `reads` in flight beside it. Milliseconds from the step's beginning. */
export interface DrawnSpan {
  readonly what: string;
  readonly beginMs: number;
  readonly endMs: number;
}

/** One pass of a step: over one drafted token, or over all tokens that are verified. Milliseconds from the step's beginning. */
export interface StepPass {
  readonly kind: "draft" | "verify";
  readonly rows: number;
  readonly beginMs: number;
  readonly endMs: number;
}

/** Everything is of the whole step. */
export interface DrawnStep {
  readonly ms: number;
  /** By key of `PHASES`. */
  readonly phaseMs: Readonly<Record<string, number>>;
  /** Phases and flights of reads, as they followed and overlapped. */
  readonly spans: readonly DrawnSpan[];
  readonly passes: readonly StepPass[];
  /** Tokens that were drafted; the first `accepted` are in the text. */
  readonly drafts: readonly string[];
  readonly accepted: number;
}
