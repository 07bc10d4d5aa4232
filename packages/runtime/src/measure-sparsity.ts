/** What a model's predictors, or its resident gates, name of a text, token after token: the statistics that predictions of speed stand on. */
import { InputError, type OnProgress, type SparsityStatistics, unitsByLayer } from "@flashwick/core";
import { UNION_TOKENS } from "@flashwick/cost-model";
import { SparsityTally } from "@flashwick/predictor";
import type { ForwardObserver } from "./forward-observer.js";
import type { Model } from "./model.js";

/** Thresholds, and who looks on while sparsity is measured. */
export interface MeasureSparsityOptions {
  /** Where the text comes from, for people. */
  readonly source: string;
  /** Scores above which each layer's neurons are named; default: the predictor's own. */
  readonly thresholdByLayer?: readonly number[] | undefined;
  /** Sees each set: token after token of a batch, layer after layer. The array is not used again. */
  readonly onNamed?: (layer: number, named: Uint32Array) => void;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs sequences as decoding would, named neurons alone at every position, and counts.
 *
 * @param model     In predicted or gate-first mode.
 * @param sequences Token ids, each at most the model's context. Unions of k tokens need sequences longer than k.
 * @throws {InputError} `INPUT_INVALID` in another mode, or without a token.
 * Cost: a dense pass over the tokens.
 */
export async function measureSparsity(
  model: Model,
  sequences: readonly (readonly number[])[],
  { source, thresholdByLayer, onNamed, onProgress, signal }: MeasureSparsityOptions,
): Promise<SparsityStatistics> {
  const total = sequences.reduce((sum, { length }) => sum + length, 0);
  if ((model.mode !== "predicted" && model.mode !== "gate-first") || total === 0) {
    throw new InputError(
      "INPUT_INVALID",
      `${source}: sparsity is measured of a predictor, or of resident gates, on at least one token`,
    );
  }
  const tally = new SparsityTally(model.header.geometry.layers.length, unitsByLayer(model.header.geometry));
  let loaded = 0;
  for (const sequence of sequences) {
    await model.withSequence(
      sequence.length,
      async (run) => {
        tally.begin();
        const observer: ForwardObserver = {
          named(layer, named) {
            tally.add(layer, named);
            onNamed?.(layer, named.slice());
          },
        };
        const report = (done: number) =>
          onProgress?.({ phase: "sparsity", loaded: loaded + done, total, unit: "tokens" });
        const chooser = run.engine.batchChooserAt(thresholdByLayer);
        await run.extend(sequence, { chooser, observer, onProgress: report, signal });
      },
      { signal },
    );
    loaded += sequence.length;
  }
  return tally.statistics(source, UNION_TOKENS);
}
