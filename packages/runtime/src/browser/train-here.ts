/**
 * Training predictors without threads and files: on the calling worker, samples in memory. For small models and short texts, in a page; `./train` is
 * for the rest.
 */
import type { OnProgress, Predictor } from "@flashwick/core";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { type EpochReport, finishPredictors, type TrainedLayer, trainLayer } from "@flashwick/predictor/train";
import { measureSparsity } from "../measure-sparsity.js";
import { Model } from "../model.js";
import { recordText } from "../train/record-text.js";

/** How {@link trainHere} trains. */
export interface TrainHereOptions {
  /** Plain text to learn from; one document of a few windows in eight is held out, the last always. */
  readonly text: string;
  /** At most. Default 24,000. */
  readonly tokens?: number;
  /** A multiple of 4. Default 32. */
  readonly rank?: number;
  /** Default 3. */
  readonly epochs?: number;
  /** Default 2.2. */
  readonly namedPerActive?: number;
  /** After each epoch of each layer: its loss, and what of the output mass it misses on held-out tokens. */
  readonly onEpoch?: (layer: number, report: EpochReport) => void;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

const HELD_OUT_EVERY = 8;

/**
 * @param model Dense.
 * @throws {InputError} for a text shorter than a window. The signal's reason when aborted, within a tenth of a second.
 * Cost: a dense pass over the tokens, then `2 · rank · (2 · dModel + 3 · dFf)` FLOP a token, epoch and layer on one thread; 3 KB a token and layer of
 * a model as wide as the demo.
 */
export async function trainHere(model: Model, options: TrainHereOptions): Promise<Predictor> {
  const { text, tokens = 24_000, rank = 32, epochs = 3, namedPerActive = 2.2, onEpoch, onProgress, signal } = options;
  const { geometry, fingerprint } = model.header;
  const isHeldOut = (i: number, count: number) => i % HELD_OUT_EVERY === HELD_OUT_EVERY - 1 || i === count - 1;
  const recording = { maxTokens: tokens, isHeldOut, onProgress, signal };
  const { documents, samples, downNorms } = await recordText(model, text, recording);
  const trained: TrainedLayer[] = [];
  for (let layer = 0; layer < geometry.layers.length; layer++) {
    const one = await trainLayer(createWasmKernels, samples.layer(layer), {
      ...{ rank, epochs, namedPerActive, downNorms: downNorms[layer]! },
      onCheckpoint: (state) => onEpoch?.(layer, state.epochs.at(-1)!),
      ...(onProgress ? { onProgress } : {}),
      ...(signal ? { signal } : {}),
    });
    trained.push(one);
  }
  const training = { tokens: trained[0]!.trainTokens, epochs, where: "in a page" };
  const predictor = finishPredictors(trained, { modelFingerprint: fingerprint, namedPerActive, training });
  const held = documents.filter(({ heldOut }) => heldOut).flatMap(({ windows }) => windows);
  const predicted = new Model({ ...model.parts, predictor }, { mode: "predicted" });
  const measure = { source: "held-out text of the page", onProgress, signal };
  const sparsity = await measureSparsity(predicted, held, measure).finally(() => predicted.unload());
  return { ...predictor, sparsity };
}
