/** The learning rate over a training: a short linear warm-up, then half a cosine down to a floor. */

/** The learning rate over the steps of a training. */
export interface LearningRateSchedule {
  /** The highest rate, reached at the end of the warm-up. */
  readonly peak: number;
  /** The rate of the last step. */
  readonly floor: number;
  readonly warmupSteps: number;
  readonly totalSteps: number;
}

/** The rate of a step, 0 … totalSteps − 1. */
export function learningRate({ peak, floor, warmupSteps, totalSteps }: LearningRateSchedule, step: number): number {
  if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
  const last = totalSteps - 1;
  if (last <= warmupSteps) return peak;
  const progress = Math.min(1, (step - warmupSteps) / (last - warmupSteps));
  return floor + (peak - floor) * 0.5 * (1 + Math.cos(Math.PI * progress));
}
