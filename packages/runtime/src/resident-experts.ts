/**
 * Choosing experts with a preference for those in DRAM, which is inexact: "Cache-Prior" (Skliar et al., "Mixture of
 * cache-conditional experts for efficient mobile device inference", TMLR 2025), with the token's own range of scores
 * instead of a running mean, so that a choice depends on nothing but the token and the cache.
 *
 * It is to routers what `residentMargin` is to predictors: what is resident is named more freely, and so the output
 * depends on what the cache holds.
 */
import { InputError } from "@flashwick/core";

/** How far resident experts are preferred. */
export interface ResidentPreference {
  /** λ, at least 0, in ranges of the token's scores; 0 prefers nothing, 1 any resident expert to any absent one. */
  readonly lambda: number;
  /** J: the experts of the highest scores that are chosen whatever is resident; k and more prefers nothing. */
  readonly alwaysKept: number;
}

/**
 * The experts of one token: the true first J, then the others by `z + λ · (max z − min z) · resident`; the lower number
 * among equals. Their weights are the router's, of the scores as they are.
 *
 * @param scores     z, the router's scores, `[nExperts]`: logits, or whatever it takes its first k by.
 * @param k          Experts to choose, at least 1.
 * @param isResident Of an expert, for instance `cache.slotOf(expert) >= 0`.
 * @returns Ascending expert numbers, `[k]`.
 * @throws {InputError} `INPUT_INVALID` for a score that is not finite, a k above the number of experts, or a preference
 *   below 0.
 * Cost: O(nExperts · log nExperts).
 */
export function preferResident(
  scores: ArrayLike<number>,
  k: number,
  isResident: (expert: number) => boolean,
  { lambda, alwaysKept }: ResidentPreference,
): Uint32Array {
  checkRequest(scores.length, k, lambda, alwaysKept);
  const bonus = lambda * rangeOf(scores);
  const byScore = ranked(scores.length, (expert) => scores[expert]!);
  const first = byScore.slice(0, Math.min(k, alwaysKept));
  const isFirst = new Set(first);
  const preferred = ranked(scores.length, (expert) => scores[expert]! + (isResident(expert) ? bonus : 0));
  const others = preferred.filter((expert) => !isFirst.has(expert)).slice(0, k - first.length);
  return Uint32Array.from([...first, ...others]).sort();
}

/** Experts by falling score. */
function ranked(nExperts: number, scoreOf: (expert: number) => number): number[] {
  const scores = Array.from({ length: nExperts }, (_, expert) => scoreOf(expert));
  return scores.map((_, expert) => expert).sort((a, b) => scores[b]! - scores[a]! || a - b);
}

function rangeOf(scores: ArrayLike<number>): number {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let expert = 0; expert < scores.length; expert++) {
    const score = scores[expert]!;
    if (!Number.isFinite(score)) {
      const message = `the router's score of expert ${expert} is ${score}, expected a finite number; its weights or its input are damaged`;
      throw new InputError("INPUT_INVALID", message, { details: { expert } });
    }
    least = Math.min(least, score);
    most = Math.max(most, score);
  }
  return most - least;
}

function checkRequest(nExperts: number, k: number, lambda: number, alwaysKept: number): void {
  if (!(Number.isSafeInteger(k) && k >= 1 && k <= nExperts)) {
    const message = `a token is to use ${k} experts, expected at least 1 and at most the layer's ${nExperts}`;
    throw new InputError("INPUT_INVALID", message, { details: { k, nExperts } });
  }
  if (!(lambda >= 0 && lambda < Number.POSITIVE_INFINITY)) {
    throw new InputError(
      "INPUT_INVALID",
      `a preference of ${lambda} for resident experts, expected a number of at least 0`,
    );
  }
  if (!(Number.isSafeInteger(alwaysKept) && alwaysKept >= 0)) {
    const message = `${alwaysKept} experts are always to be kept, expected an integer of at least 0`;
    throw new InputError("INPUT_INVALID", message);
  }
}
