import type { Intervention, ReaderBench } from "./reader-bench.js";

/** What every reader must do, and what the bench must be able to do for it. */
export interface ReaderCase {
  readonly title: string;
  readonly needs?: Intervention;
  run(bench: ReaderBench): Promise<void>;
}
