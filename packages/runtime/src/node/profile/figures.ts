/** What measuring shares: how thorough it is, medians over interleaved passes, and turns for the event loop between them. */

/**
 * Half a minute, under ten seconds, within one, or a quarter of that for the runs of small files: fewer sizes, depths, types and repetitions, and less
 * memory.
 */
export type Effort = "full" | "quick" | "brief" | "small";

/** The middle of some numbers. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/**
 * The time that stands for some: the median, or of the few of a brief profile the shortest, since a median of few is what others make of it.
 */
export function typicalMs(times: readonly number[], effort: Effort): number {
  return effort === "brief" || effort === "small" ? Math.min(...times) : median(times);
}

/** The mean without the highest tenth, nor the lowest: what others do to the machine now and then is not the machine's. */
export function trimmedMean(values: readonly number[]): number {
  const cut = Math.floor(values.length / 10);
  return mean([...values].sort((a, b) => a - b).slice(cut, values.length - cut));
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** (max − min) / mean; null of one value, which does not say. */
export function spreadOf(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  return (Math.max(...values) - Math.min(...values)) / mean(values);
}

/** Lets timers, signals and messages have their turn; throws if nobody wants the measurement any more. */
export async function turn(signal: AbortSignal | undefined): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  signal?.throwIfAborted();
}

/**
 * Every case in turn, several times: what disturbs a machine for a second then disturbs one pass of all of them and not all of one.
 *
 * @returns The figures of each case.
 */
export async function interleave<Case>(
  cases: readonly Case[],
  passes: number,
  measure: (of: Case) => number | Promise<number>,
  signal: AbortSignal | undefined,
): Promise<number[][]> {
  const figures = cases.map((): number[] => []);
  for (let pass = 0; pass < passes; pass++) {
    for (const [i, of] of cases.entries()) {
      figures[i]!.push(await measure(of));
      await turn(signal);
    }
  }
  return figures;
}

/** Milliseconds that some work takes. */
export async function timeMs(work: () => void | Promise<void>): Promise<number> {
  const begin = performance.now();
  const pending = work();
  if (pending) await pending;
  return performance.now() - begin;
}
