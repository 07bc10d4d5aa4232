/** From logits to the next token: greedy, or temperature, top-k and nucleus (top-p) sampling, reproducible by seed. */
import { InputError, Random } from "@flashwick/core";

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

export type Sampler = (logits: Float32Array) => number;

/** @throws {InputError} naming the option that is out of range. */
export function createSampler(options: SamplingOptions = {}): Sampler {
  const { temperature = 0, topK = 0, topP = 1, seed = 0 } = options;
  check("temperature", temperature, temperature >= 0 && temperature < Number.POSITIVE_INFINITY, "at least 0");
  check("topK", topK, Number.isInteger(topK) && topK >= 0, "an integer of at least 0");
  check("topP", topP, topP > 0 && topP <= 1, "in (0, 1]");
  check("seed", seed, Number.isSafeInteger(seed), "an integer");
  if (temperature === 0) return argmax;
  const random = new Random(seed);
  return (logits) => sample(logits, temperature, topK, topP, random.uniform());
}

function check(name: string, value: number, ok: boolean, expected: string): void {
  if (ok) return;
  throw new InputError("INPUT_INVALID", `${name} is ${value}, expected ${expected}`, { details: { [name]: value } });
}

/** Index of the largest logit; the lowest index of several. */
export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

/** log Σ exp(logits), without overflow. */
export function logSumExp(logits: Float32Array): number {
  const max = logits[argmax(logits)]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum);
}

/** The token at quantile `u` of the truncated distribution, tokens taken in order of falling probability. */
function sample(logits: Float32Array, temperature: number, topK: number, topP: number, u: number): number {
  const order = Uint32Array.from(logits, (_, i) => i).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const kept = topK > 0 ? Math.min(topK, order.length) : order.length;
  const max = logits[order[0]!]!;
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
