/** Text to the documents that a recording is made of. Pure. */
import { InputError } from "@flashwick/core";
import { cutWindows } from "../evaluate.js";

/** Tokens that the model sees in one piece, BOS included; fewer where its context is shorter. */
const WINDOW_TOKENS = 256;

export function trainingWindowTokens(contextLength: number): number {
  return Math.min(WINDOW_TOKENS, contextLength);
}

/**
 * Windows of one document. Texts rarely mark where a document ends, so a document here is a stretch: what is held out is
 * then a stretch, too, whose tokens share no window with those that are trained on.
 */
const WINDOWS_PER_DOCUMENT = 4;

/** One document of a text, cut into windows of tokens. */
export interface TrainingDocument {
  readonly windows: readonly (readonly number[])[];
}

/**
 * Cuts a text into documents of whole windows, up to `maxTokens` tokens.
 *
 * @param tokens Without special tokens.
 * @throws {InputError} for a text shorter than one window.
 */
export function cutDocuments(
  tokens: readonly number[],
  bos: number | null,
  windowTokens: number,
  maxTokens = Number.POSITIVE_INFINITY,
): TrainingDocument[] {
  const windows = cutWindows(tokens, windowTokens, bos);
  if (windows.length === 0) {
    throw new InputError(
      "INPUT_INVALID",
      `the text has ${tokens.length} tokens, expected at least one window of ${windowTokens}; give more text`,
      { details: { tokens: tokens.length, windowTokens } },
    );
  }
  const kept = windows.slice(0, Math.max(1, Math.floor(maxTokens / windowTokens)));
  const documents: TrainingDocument[] = [];
  for (let at = 0; at < kept.length; at += WINDOWS_PER_DOCUMENT) {
    documents.push({ windows: kept.slice(at, at + WINDOWS_PER_DOCUMENT) });
  }
  return documents;
}

/** Spreads `count` picks evenly over documents, so that a short recording sees every kind of text. */
export function spreadDocuments(documents: readonly TrainingDocument[], count: number): TrainingDocument[] {
  if (count >= documents.length) return [...documents];
  return Array.from({ length: count }, (_, i) => documents[Math.floor((i * documents.length) / count)]!);
}
