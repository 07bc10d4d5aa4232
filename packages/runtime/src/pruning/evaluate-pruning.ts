/** Quality of pruned FFNs beside what they read: perplexity, agreement with the dense model, bytes a token. */
import { InputError, type OnProgress } from "@flashwick/core";
import { ComparedRun } from "../compared-run.js";
import { cutWindows, QualityTally } from "../evaluate.js";
import type { EvaluateResult } from "../evaluation.js";
import type { Model } from "../model.js";
import type { Sequence } from "../sequence.js";
import type { UnitNorms } from "./planned-pruner.js";
import { PruningChooser } from "./pruning-chooser.js";
import { type PrunedReads, type PruningRun, PruningTally } from "./pruning-tally.js";
import { unitNorms } from "./unit-norms.js";

/** Which part of a text, and who looks on. */
export interface EvaluatePruningOptions {
  /** Tokens of a window, BOS included; default 256. */
  readonly windowTokens?: number;
  /** Windows that are passed over, from the beginning. Default 0. */
  readonly skipWindows?: number;
  readonly maxWindows?: number;
  /** As {@link readUnitNorms} gives them, which is also the default. */
  readonly norms?: readonly UnitNorms[] | undefined;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One run's quality and reads. `against` is the dense model. */
export type PruningResult = PrunedReads &
  Pick<EvaluateResult, "perplexity" | "meanNll" | "tokens" | "windows"> & {
    readonly against: NonNullable<EvaluateResult["against"]>;
  };

/**
 * Runs a text with each way of pruning, window by window, beside the dense model in the same engine.
 *
 * @param model With its FFNs in DRAM, dense mode; not in use meanwhile.
 * @throws {InputError} `INPUT_INVALID` for a text shorter than one window, or a run that makes no sense. {UnsupportedError} as `computePruned`.
 * Cost: a dense pass over the text for each run, and one more.
 */
export async function evaluatePruning(
  model: Model,
  text: string,
  runs: readonly PruningRun[],
  options: EvaluatePruningOptions = {},
): Promise<PruningResult[]> {
  const { windowTokens = 256, skipWindows = 0, maxWindows = Number.POSITIVE_INFINITY, onProgress, signal } = options;
  const all = cutWindows(model.tokenizer.encode(text, false), windowTokens, model.header.geometry.bosTokenId);
  const windows = all.slice(skipWindows, skipWindows + maxWindows);
  if (windows.length === 0) {
    throw new InputError(
      "INPUT_INVALID",
      `the text has ${all.length} windows of ${windowTokens} tokens, expected more than the ${skipWindows} that are passed over`,
    );
  }
  const norms = options.norms ?? (await readUnitNorms(model, signal));
  const tallies = runs.map((run) => ({
    reads: new PruningTally(run, model.header, norms),
    quality: new QualityTally(),
  }));
  const dense = new ComparedRun(model, windows, { against: "dense", signal });
  for (const [index, window] of windows.entries()) {
    const other = (await dense.logits(index))!;
    for (const { reads, quality } of tallies) {
      const onLogits = (position: number, logits: Float32Array) => {
        const target = window[position + 1];
        if (target !== undefined) quality.add(logits, target, other[position]!);
      };
      const chooser = new PruningChooser(reads.pruner);
      const run = (sequence: Sequence) => sequence.extend(window, { chooser, logits: "all", onLogits, signal });
      await model.withSequence(windowTokens, run, { signal });
    }
    onProgress?.({ phase: "evaluate", loaded: index + 1, total: windows.length, unit: "runs" });
  }
  return tallies.map(({ reads, quality }) => {
    const { against, ...own } = quality.result(windows.length);
    return { ...own, ...reads.result(), against: against! };
  });
}

/** The norms of every column of a model's FFNs. @throws {UnsupportedError} as `unitNorms`. */
export async function readUnitNorms(model: Model, signal?: AbortSignal): Promise<UnitNorms[]> {
  const { dModel } = model.header.geometry;
  return await model.withSequence(1, ({ engine }) => unitNorms(engine.layers, dModel, engine.meter, signal), {
    signal,
  });
}
