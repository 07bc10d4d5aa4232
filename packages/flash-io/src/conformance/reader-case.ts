import type { Intervention, ReaderBench } from "./reader-bench.js";

/** What every reader must do, and what the bench must be able to do for it. */
export interface ReaderCase {
  readonly title: string;
  readonly needs?: Intervention;
  /** Runs the case. @throws {ConformanceFailure} if the reader does not do as it must. */
  run(bench: ReaderBench): Promise<void>;
}
