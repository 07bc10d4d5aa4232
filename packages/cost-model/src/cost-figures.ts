/** What the cost model says of a pass, and of a prompt. */

/** Of the whole pass; milliseconds unless the name says otherwise. */
export interface PassCost {
  readonly flashBytes: number;
  readonly flashReads: number;
  /** In the union of the tokens' sets. */
  readonly neuronsNamed: number;
  readonly neuronsLoaded: number;
  /** Reads in flight. */
  readonly readMs: number;
  /** Of it, what nothing is computed in. */
  readonly exposedReadMs: number;
  readonly predictMs: number;
  readonly cacheMs: number;
  readonly checkMs: number;
  readonly attentionMs: number;
  readonly ffnMs: number;
  readonly headMs: number;
  readonly totalMs: number;
}

/** Of a whole prompt. */
export interface PrefillCost {
  readonly flashBytes: number;
  readonly readMs: number;
  readonly computeMs: number;
  /** The larger of the two, batch by batch, and the checks. */
  readonly totalMs: number;
}
