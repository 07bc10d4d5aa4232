/** The engine's own activations as training samples: what the FFN saw, and which neurons fired. */
import { neuronGrid, type OnProgress, paddedLength } from "@flashwick/core";
import { BatchRecorder, type SampleSink } from "@flashwick/predictor/train";
import { ALL_NEURONS } from "../chooser.js";
import type { ForwardObserver } from "../forward-observer.js";
import type { Model } from "../model.js";
import type { Sequence } from "../sequence.js";
import { type TrainingDocument, trainingWindowTokens } from "./training-text.js";

/** A document and whether it is for judging only. */
export interface MarkedDocument extends TrainingDocument {
  readonly heldOut: boolean;
}

/** Documents between two commits of the store. */
const DOCUMENTS_PER_COMMIT = 16;

/**
 * Records documents into a sink, going on where it stopped.
 *
 * @param model   Its weights decide what is active: every neuron is computed, whatever the model's mode.
 * @param sinkFor Makes the sink once ‖down_i‖₂ of every neuron is known, f64 `[dFf]` by layer: what a missed activation weighs.
 * @returns The norms.
 * Cost: one forward pass without head for each token, and a reading of all FFN weights.
 */
export async function recordActivations(
  model: Model,
  documents: readonly MarkedDocument[],
  sinkFor: (downNorms: readonly Float64Array[]) => SampleSink,
  options: { readonly onProgress?: OnProgress | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<Float64Array[]> {
  const { geometry } = model.header;
  const windowTokens = trainingWindowTokens(geometry.contextLength);
  return await model.withSequence(
    windowTokens,
    async (sequence) => {
      const { engine } = sequence;
      const norms = await engine.downNorms(options.signal);
      const store = sinkFor(norms);
      const recorder = new BatchRecorder(neuronGrid(geometry), engine.batchTokens);
      const total = documents.reduce((sum, { windows }) => sum + windows.length, 0) * windowTokens;
      let loaded = 0;
      for (const [index, document] of documents.entries()) {
        if (index >= store.nextDocument) {
          for (const window of document.windows) {
            await recordWindow(sequence, window, document.heldOut, recorder, store, options.signal);
          }
          if ((index + 1) % DOCUMENTS_PER_COMMIT === 0 || index + 1 === documents.length) store.commit(index + 1);
        }
        loaded += document.windows.length * windowTokens;
        options.onProgress?.({ phase: "record", loaded, total, unit: "tokens" });
      }
      return norms;
    },
    options,
  );
}

async function recordWindow(
  sequence: Sequence,
  window: readonly number[],
  heldOut: boolean,
  recorder: BatchRecorder,
  store: SampleSink,
  signal?: AbortSignal,
): Promise<void> {
  const { dModel, dFf } = neuronGrid(sequence.engine.parts.file.header.geometry);
  const observer: ForwardObserver = {
    ffnInput(_layer, x, nTokens, kernels) {
      const rowLength = paddedLength(dModel);
      recorder.begin(nTokens, heldOut);
      recorder.input(kernels.arena.f32(x, nTokens * rowLength), rowLength);
    },
    activations(layer, first, count, act, nTokens, kernels) {
      const rowLength = paddedLength(count);
      recorder.activations(first, count, kernels.arena.f32(act, nTokens * rowLength), rowLength);
      if (first + count === dFf) store.append(layer, recorder.end());
    },
  };
  sequence.rollback(0);
  await sequence.extend(window, { chooser: ALL_NEURONS, observer, signal });
}
