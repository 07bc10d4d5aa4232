/** Second moments of what each FFN sees of a text, for a conversion that makes up for what it loses. */
import {
  BudgetError,
  formatBytes,
  GiB,
  InputError,
  type OnProgress,
  paddedLength,
  UnsupportedError,
} from "@flashwick/core";
import { type LayerMoments, type MomentsHeader, momentsBytes } from "@flashwick/flash-format";
import { ALL_NEURONS } from "./chooser.js";
import type { ForwardObserver } from "./forward-observer.js";
import type { Model } from "./model.js";
import { MomentTally } from "./moment-tally.js";
import { stretchObserver } from "./stretch-observer.js";

/** Progress and abort of a recording. */
export interface RecordMomentsOptions {
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Moments of a text, as a file of moments has them. */
export interface RecordedMoments {
  readonly header: Omit<MomentsHeader, "fileBytes">;
  readonly layers: readonly LayerMoments[];
}

/** Of the file; a recording holds twice as much in memory. */
const MOST_BYTES = 4 * GiB;

/**
 * Runs sequences densely and sums up, by layer, the products of all pairs of FFN inputs and of activations.
 *
 * @param sequences Token ids, each at most the model's context.
 * @throws {InputError} `INPUT_INVALID` without a token. {UnsupportedError} `UNSUPPORTED_FEATURE` where single neurons have no records.
 * {BudgetError} `BUDGET_TOO_SMALL` for a model whose moments are larger than 4 GiB.
 * Cost: a dense pass over the tokens, dModel² / 2 multiplications a token and layer, and half the square of how many neurons
 * fire.
 */
export async function recordMoments(
  model: Model,
  sequences: readonly (readonly number[])[],
  { onProgress, signal }: RecordMomentsOptions = {},
): Promise<RecordedMoments> {
  const { geometry, fingerprint, records } = model.header;
  const total = sequences.reduce((sum, { length }) => sum + length, 0);
  if (total === 0) {
    throw new InputError("INPUT_INVALID", "moments of no tokens; give a text of at least one window");
  }
  if (records.length === 0) throw noRecords();
  const shape = { dModel: geometry.dModel, dFf: geometry.layers.map(({ ffn }) => ffn.dFf) };
  checkSize(momentsBytes(shape));
  const tally = new MomentTally(geometry);
  let loaded = 0;
  for (const sequence of sequences) {
    await model.withSequence(
      sequence.length,
      async (run) => {
        const observer: ForwardObserver = {
          ffnInput(layer, x, nTokens, kernels) {
            const rowLength = paddedLength(geometry.dModel);
            tally.addInputs(layer, kernels.arena.f32(x, nTokens * rowLength), nTokens, rowLength);
          },
          ...stretchObserver(run.engine, tally.onStretch),
        };
        await run.extend(sequence, { chooser: ALL_NEURONS, observer, signal });
      },
      { signal },
    );
    loaded += sequence.length;
    onProgress?.({ phase: "moments", loaded, total, unit: "tokens" });
  }
  return { header: { modelFingerprint: fingerprint, tokens: total, ...shape }, layers: tally.moments(total) };
}

function noRecords(): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "only model files with records of neurons have moments; convert the checkpoint, or the GGUF file of llama.cpp, first",
  );
}

function checkSize(bytes: number): void {
  if (bytes <= MOST_BYTES) return;
  throw new BudgetError(
    "BUDGET_TOO_SMALL",
    `moments of this model would take ${formatBytes(bytes)}, expected at most ${formatBytes(MOST_BYTES)}; convert it without a calibration`,
    { details: { bytes, most: MOST_BYTES } },
  );
}
