/** Which runs of a batch a caller may name. */
import { InputError } from "@flashwick/core";

/** @throws {InputError} `INPUT_INVALID` unless every entry of `runs` is the index of one of the batch's `batchRuns` runs. Cost: O(runs). */
export function checkRunIndices(reader: string, runs: ArrayLike<number>, batchRuns: number): void {
  for (let i = 0; i < runs.length; i++) {
    const run = runs[i]!;
    if (Number.isInteger(run) && run >= 0 && run < batchRuns) continue;
    throw new InputError(
      "INPUT_INVALID",
      `${reader}: run ${run} is awaited, expected indices below ${batchRuns}, the length of the batch`,
    );
  }
}
