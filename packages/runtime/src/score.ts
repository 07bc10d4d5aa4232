/** What the model says of a given sequence: logits at every position, in the engine's mode. */
import { InputError, type OnProgress } from "@flashwick/core";
import { checkTokens } from "./check-tokens.js";
import type { Model } from "./model.js";
import { likeliestTokens, logSumExp } from "./sampler.js";

/** Which logits are reported. */
export interface ScoreOptions {
  /** How many of the largest logits to report; default 8. */
  readonly top?: number;
  /** Tokens whose logits to report whatever they are. */
  readonly probe?: readonly number[];
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What the model says at one position of a sequence. */
export interface ScoredPosition {
  readonly logSumExp: number;
  /** `[token, logit]`, largest first. */
  readonly top: readonly (readonly [number, number])[];
  readonly probe: readonly (readonly [number, number])[];
  /** log p of this position's own token given those before it; null for the first. */
  readonly logprob: number | null;
}

/**
 * Scores a sequence: no special token is added.
 *
 * @throws {InputError} for an empty sequence, a token or probe out of range, or more tokens than the context holds.
 */
export async function scoreTokens(
  model: Model,
  tokens: readonly number[],
  options: ScoreOptions = {},
): Promise<ScoredPosition[]> {
  const { top = 8, probe = [] } = options;
  const { geometry } = model.header;
  checkTokens(tokens, geometry);
  const outside = probe.find((token) => !Number.isInteger(token) || token < 0 || token >= geometry.vocabSize);
  if (outside !== undefined) {
    throw new InputError(
      "INPUT_TOKEN_RANGE",
      `probe token ${outside} is out of range, expected an id from 0 to ${geometry.vocabSize - 1}`,
    );
  }
  const positions: ScoredPosition[] = [];
  let logprob: number | null = null;
  await forEachLogits(model, tokens, options, (position, logits) => {
    const sum = logSumExp(logits);
    positions.push({
      logSumExp: sum,
      top: likeliestTokens(logits, top).map((token) => [token, logits[token]!] as const),
      probe: probe.map((token) => [token, logits[token]!] as const),
      logprob,
    });
    const following = tokens[position + 1];
    if (following !== undefined) logprob = logits[following]! - sum;
  });
  return positions;
}

/** Runs `tokens` as one sequence from position 0 and hands out the logits after each, in the model's mode. */
export async function forEachLogits(
  model: Model,
  tokens: readonly number[],
  options: { readonly onProgress?: OnProgress | undefined; readonly signal?: AbortSignal | undefined },
  onLogits: (position: number, logits: Float32Array) => void,
): Promise<void> {
  const { onProgress, signal } = options;
  const report = (loaded: number) => onProgress?.({ phase: "score", loaded, total: tokens.length, unit: "tokens" });
  await model.withSequence(
    tokens.length,
    (sequence) =>
      sequence.extend(tokens, {
        chooser: sequence.engine.batchChooser,
        logits: "all",
        onLogits,
        onProgress: report,
        signal,
      }),
    options,
  );
}
