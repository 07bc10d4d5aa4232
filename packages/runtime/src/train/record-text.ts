/** A text's activations: to whoever takes them, or into memory, for texts that are short enough. */
import { neuronGrid, type OnProgress } from "@flashwick/core";
import { MemorySampleStore, type SampleSink } from "@flashwick/predictor/train";
import type { Model } from "../model.js";
import { type MarkedDocument, recordActivations } from "./record-activations.js";
import { cutDocuments, trainingWindowTokens } from "./training-text.js";

export interface RecordTextOptions {
  /** Of the text, at most. */
  readonly maxTokens: number;
  /** Which of `count` documents are for judging only. */
  readonly isHeldOut: (document: number, count: number) => boolean;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface TextRecording {
  readonly documents: readonly MarkedDocument[];
  /** As {@link recordActivations} returns them. */
  readonly downNorms: readonly Float64Array[];
}

/**
 * Records into memory.
 *
 * @throws {InputError} for a text shorter than one window.
 * Cost: a forward pass without head for each token, and its samples in memory.
 */
export async function recordText(
  model: Model,
  text: string,
  options: RecordTextOptions,
): Promise<TextRecording & { readonly samples: MemorySampleStore }> {
  const samples = new MemorySampleStore(neuronGrid(model.header.geometry));
  return { samples, ...(await recordTextInto(() => samples, model, text, options)) };
}

/**
 * Records into a sink, as {@link recordActivations} does.
 *
 * @throws {InputError} for a text shorter than one window.
 */
export async function recordTextInto(
  sinkFor: (downNorms: readonly Float64Array[]) => SampleSink,
  model: Model,
  text: string,
  { maxTokens, isHeldOut, onProgress, signal }: RecordTextOptions,
): Promise<TextRecording> {
  const { geometry } = model.header;
  const windowTokens = trainingWindowTokens(geometry.contextLength);
  const tokens = model.tokenizer.encode(text, false);
  const cut = cutDocuments(tokens, geometry.bosTokenId, windowTokens, maxTokens);
  const documents = cut.map((document, i) => ({ ...document, heldOut: isHeldOut(i, cut.length) }));
  const downNorms = await recordActivations(model, documents, sinkFor, { onProgress, signal });
  return { documents, downNorms };
}
