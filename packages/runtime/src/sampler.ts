/** From logits to the next token: greedy, or temperature, top-k and nucleus (top-p) sampling, reproducible by seed. */
import { InputError, Random } from "@flashwick/core";

/** How a token is drawn from its logits. */
export interface SamplingOptions {
  /** 0 (default): the largest logit. */
  readonly temperature?: number;
  /** Only the k largest logits; 0 (default): all. */
  readonly topK?: number;
  /** Only the fewest tokens whose probabilities reach p; 1 (default): all. */
  readonly topP?: number;
  /** Default 0. */
  readonly seed?: number;
}

/**
 * The next token for logits f32 `[vocabSize]`.
 *
 * @param index Number of the token since the sampler was made, from 0: each has a random number of its own, the same one however often and in
 *   whatever order it is asked for. Default: one more than the last.
 * @throws {InputError} `INPUT_INVALID` if a logit is NaN, naming the first, or if the largest is infinite.
 */
export type Sampler = (logits: Float32Array, index?: number) => number;

/** @throws {InputError} naming the option that is out of range. */
export function createSampler(options: SamplingOptions = {}): Sampler {
  const { temperature = 0, topK = 0, topP = 1, seed = 0 } = options;
  check("temperature", temperature, temperature >= 0 && temperature < Number.POSITIVE_INFINITY, "at least 0");
  check("topK", topK, Number.isInteger(topK) && topK >= 0, "an integer of at least 0");
  check("topP", topP, topP > 0 && topP <= 1, "in (0, 1]");
  check("seed", seed, Number.isSafeInteger(seed), "an integer");
  if (temperature === 0) return (logits) => argmax(logits);
  const random = new Random(seed);
  const draws: number[] = [];
  let next = 0;
  return (logits, index = next) => {
    while (draws.length <= index) draws.push(random.uniform());
    next = index + 1;
    return sample(logits, temperature, topK, topP, draws[index]!);
  };
}

function check(name: string, value: number, ok: boolean, expected: string): void {
  if (ok) return;
  throw new InputError("INPUT_INVALID", `${name} is ${value}, expected ${expected}`, { details: { [name]: value } });
}

/**
 * Index of the largest logit; the lowest index of several.
 *
 * @throws {InputError} `INPUT_INVALID` for logits that are no distribution: one is NaN, or the largest is infinite. Single
 * logits of -Infinity are well: such a token is never drawn.
 */
export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i]!;
    if (logit > logits[best]!) best = i;
    else if (Number.isNaN(logit)) throw notADistribution(logits, i, "a number");
  }
  if (!Number.isFinite(logits[best])) throw notADistribution(logits, best, "the largest to be finite");
  return best;
}

function notADistribution(logits: Float32Array, position: number, expected: string): InputError {
  const found = String(logits[position]);
  return new InputError(
    "INPUT_INVALID",
    `logit ${position} of ${logits.length}: expected ${expected}, found ${found}; the weights or the predictor overflow or are damaged: ` +
      "flashwick verify checks a file",
    { details: { position, found } },
  );
}

/**
 * log Σ exp(logits), without overflow.
 *
 * @throws {InputError} As {@link argmax}.
 */
export function logSumExp(logits: Float32Array): number {
  const max = logits[argmax(logits)]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum);
}

/** The `count` tokens of the largest logits, largest first, of equals the lower id. */
export function likeliestTokens(logits: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < logits.length; i++) {
    if (best.length === count && !(logits[i]! > logits[best.at(-1)!]!)) continue;
    let at = best.length;
    while (at > 0 && logits[i]! > logits[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > count) best.pop();
  }
  return best;
}

/** Up to here, one pass that keeps the largest is cheaper than sorting a vocabulary, which takes longer than a small model's token. */
const MOST_INSERTED = 256;

/** All tokens, in the order of {@link likeliestTokens}. */
function sortedTokens(logits: Float32Array): Uint32Array {
  return Uint32Array.from(logits, (_, i) => i).sort((a, b) => logits[b]! - logits[a]! || a - b);
}

/** The token at quantile `u` of the truncated distribution, tokens taken in order of falling probability. */
function sample(logits: Float32Array, temperature: number, topK: number, topP: number, u: number): number {
  const max = logits[argmax(logits)]!;
  const kept = topK > 0 ? Math.min(topK, logits.length) : logits.length;
  const order = kept <= MOST_INSERTED ? likeliestTokens(logits, kept) : sortedTokens(logits);
  const weights = new Float64Array(kept);
  let total = 0;
  for (let i = 0; i < kept; i++) total += weights[i] = Math.exp((logits[order[i]!]! - max) / temperature);
  let mass = 0;
  let count = 0;
  while (count < kept && mass < topP * total) mass += weights[count++]!;
  let rest = u * mass;
  for (let i = 0; i < count; i++) {
    rest -= weights[i]!;
    if (rest < 0) return order[i]!;
  }
  return order[count - 1]!;
}
