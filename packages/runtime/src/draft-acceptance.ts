/** How often a sparse run's token is the dense model's: what a lossless run's drafts are accepted with, before one is made. */

/** What share of drafts is accepted, and who says so. */
export interface DraftAcceptance {
  /** 0 … 1. */
  readonly share: number;
  /** Where it comes from, for people. */
  readonly source: string;
}

/** Calibrated predictors reach 0.97 and more; one that nobody has measured is given less. */
const ASSUMED_SHARE = 0.9;

/**
 * @param training What a predictor's file says of its training; null for a predictor that is yet to be trained.
 * @returns The top-1 agreement that `flashwick calibrate` has measured and written down, else an assumption that says so.
 */
export function draftAcceptance(training: Readonly<Record<string, unknown>> | null): DraftAcceptance {
  const { measured } = record(record(training).calibration);
  const { top1Agreement } = record(measured);
  if (typeof top1Agreement === "number" && top1Agreement >= 0 && top1Agreement <= 1) {
    return { share: top1Agreement, source: "the predictor's top-1 agreement, measured when it was calibrated" };
  }
  return { share: ASSUMED_SHARE, source: "assumed; flashwick calibrate measures the predictor's top-1 agreement" };
}

/** Facts are JSON that anybody may have written. */
function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
