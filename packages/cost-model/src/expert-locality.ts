/**
 * How often a token's experts are still in a cache: statistics of a router, from a trace or as published.
 *
 * The curve of a layer is what least recently used slots do with its requests (R. L. Mattson et al., "Evaluation techniques for storage
 * hierarchies", IBM Systems Journal 9(2), 1970): H(s) is the share of chosen experts that the s used last contain. One curve says all that a cost needs:
 *
 *     loads of a token              chosen · (1 − H(s))
 *     union of n tokens             U(0) = 0,   U(n + 1) = U(n) + chosen · (1 − H(U(n)))
 *
 * since the experts of n tokens are the U(n) used last (the working set's derivative is its miss rate: Denning and Schwartz, 1972). For a router that
 * knows no yesterday H(s) = s / count, and U(n) = count · (1 − (1 − chosen / count)ⁿ) exactly: the bound of independent draws.
 */
import { assert, InputError, showValue } from "@flashwick/core";
import type { ExpertsShape, MixtureShape } from "./mixture-shape.js";

/** How often a token's experts are among those used last, layer by layer. */
export interface ExpertLocality {
  /** Where the figures come from. */
  readonly source: string;
  /** By layer: H(s) for s = 0 … count, not shrinking, from 0 to 1. Null for a layer without experts. */
  readonly hitShareByLayer: readonly (readonly number[] | null)[];
}

/** What of the misses of independent draws, 1 − slots / count, real routers leave, by slots for each chosen expert. */
export interface LocalityCurve {
  readonly source: string;
  /** Slots over chosen experts, ascending from 0. Beyond the last the last holds. */
  readonly slotsPerChosen: readonly number[];
  /** From 1, not growing. */
  readonly missFactor: readonly number[];
}

const TRACES = "Helldez/BigMoeOnEdge, docs/bench-data/2026-07-15-route-trace, each layer replayed by itself";

/** The mean of two models, six experts of 128 a token, whose hits differ by at most 2.2 points. */
export const PUBLISHED_LOCALITY: LocalityCurve = {
  source: `published traces of Qwen3-30B-A3B and Gemma 4 26B-A4B, 128 tokens each (${TRACES})`,
  slotsPerChosen: [0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 10, 12],
  missFactor: [1, 0.829, 0.664, 0.593, 0.523, 0.411, 0.338, 0.223, 0.141, 0.097, 0.086],
};

/** A router of less locality: the 120b model, at two experts of 128. */
export const PUBLISHED_GPT_OSS_LOCALITY: LocalityCurve = {
  source: `a published trace of gpt-oss-120b, 64 tokens (${TRACES})`,
  slotsPerChosen: [0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 10, 12, 16, 20],
  missFactor: [1, 0.925, 0.83, 0.764, 0.681, 0.572, 0.517, 0.445, 0.39, 0.346, 0.31, 0.263, 0.232],
};

/** A curve for the experts of a model of which there is no trace. */
export function localityOf(mixture: MixtureShape, curve: LocalityCurve = PUBLISHED_LOCALITY): ExpertLocality {
  const known = new Map<string, readonly number[]>();
  const hitShare = ({ count, chosen }: ExpertsShape) => {
    const key = `${chosen} of ${count}`;
    const shares = known.get(key) ?? hitShares(count, chosen, curve);
    known.set(key, shares);
    return shares;
  };
  return { source: curve.source, hitShareByLayer: mixture.layers.map(({ experts }) => experts && hitShare(experts)) };
}

function hitShares(count: number, chosen: number, { slotsPerChosen, missFactor }: LocalityCurve): number[] {
  return Array.from({ length: count + 1 }, (_, slots) => {
    const factor = between(slotsPerChosen, missFactor, slots / chosen);
    return 1 - (1 - slots / count) * factor;
  });
}

/** Linear between points, the last beyond them. */
function between(at: readonly number[], values: readonly number[], x: number): number {
  const next = at.findIndex((point) => point >= x);
  if (next < 0) return values.at(-1)!;
  if (next === 0) return values[0]!;
  const share = (x - at[next - 1]!) / (at[next]! - at[next - 1]!);
  return values[next - 1]! + share * (values[next]! - values[next - 1]!);
}

/** Chosen experts by token and layer; a layer without experts has an empty list. */
export type ExpertTrace = readonly (readonly ArrayLike<number>[])[];

/**
 * Measures the curves of a trace, one pass over it. An expert that was never used before is a miss of any cache that does not hold all of them.
 *
 * @param source        Of the trace: a file, for messages as well.
 * @param counts        Experts by layer; 0 where it has none.
 * @param warmUpTokens  Tokens from the trace's beginning, such as a prompt's, that are seen and not counted.
 * @throws {InputError} `INPUT_INVALID` for a trace without a token that counts, of another number of layers, or with an expert that does not exist.
 * Cost: O(chosen experts · count).
 */
export function localityOfTrace(
  source: string,
  trace: ExpertTrace,
  counts: readonly number[],
  warmUpTokens = 0,
): ExpertLocality {
  checkExpertTrace(source, trace, counts, warmUpTokens);
  return {
    source,
    hitShareByLayer: counts.map((count, layer) => layerHits(trace, layer, count, warmUpTokens)),
  };
}

/**
 * Whether a trace is one of these experts, with a token that counts.
 *
 * @throws {InputError} As {@link localityOfTrace}. Cost: O(chosen experts).
 */
export function checkExpertTrace(
  source: string,
  trace: ExpertTrace,
  counts: readonly number[],
  warmUpTokens = 0,
): void {
  if (trace.length <= warmUpTokens) {
    throw new InputError(
      "INPUT_INVALID",
      `${source}: a trace of ${trace.length} tokens, of which ${warmUpTokens} only warm up; expected at least one more`,
    );
  }
  const nLayers = Math.max(...trace.map((layers) => layers.length));
  if (nLayers !== counts.length) {
    throw new InputError(
      "INPUT_INVALID",
      `${source}: a trace of ${nLayers} layers, expected ${counts.length}; it is of another model`,
      { details: { field: "layers", found: nLayers } },
    );
  }
  for (const [layer, count] of counts.entries()) {
    if (count === 0) continue;
    for (const [token, layers] of trace.entries()) {
      for (const expert of Array.from(layers[layer] ?? [])) checkExpert(source, token, layer, expert, count);
    }
  }
}

function layerHits(trace: ExpertTrace, layer: number, count: number, warmUpTokens: number): number[] | null {
  if (count === 0) return null;
  const hitsAt = new Array<number>(count + 1).fill(0);
  let requests = 0;
  /** Most recently used first. */
  let stack: number[] = [];
  for (const [token, layers] of trace.entries()) {
    const chosen = Array.from(layers[layer] ?? []);
    for (const expert of chosen) {
      const depth = stack.indexOf(expert);
      if (token < warmUpTokens) continue;
      requests++;
      if (depth >= 0) hitsAt[depth + 1]!++;
    }
    // Hits are computed before any miss takes a slot, so a token meets the cache as the one before it left it.
    stack = [...[...chosen].reverse(), ...stack.filter((expert) => !chosen.includes(expert))];
  }
  let hits = 0;
  return hitsAt.map((more, slots) => {
    hits += more;
    return slots === count ? 1 : hits / Math.max(1, requests);
  });
}

function checkExpert(source: string, token: number, layer: number, expert: number, count: number): void {
  if (Number.isInteger(expert) && expert >= 0 && expert < count) return;
  throw new InputError(
    "INPUT_INVALID",
    `${source}: token ${token} chooses expert ${expert} in layer ${layer}, which has ${count}`,
    { details: { field: `[${token}][${layer}]`, found: expert } },
  );
}

/**
 * @param where For messages. Default: the source.
 * @throws {InputError} `INPUT_INVALID` naming the layer, for curves that are not those of this mixture.
 */
export function checkLocality(
  { source, hitShareByLayer }: ExpertLocality,
  { layers }: MixtureShape,
  where = source,
): void {
  const refuse = (field: string, expected: string, found: string) => {
    const message = `${where}: field ${field} is ${found}, expected ${expected}; this should be the locality of this model's experts`;
    throw new InputError("INPUT_INVALID", message, { details: { field } });
  };
  if (hitShareByLayer.length !== layers.length)
    refuse("hitShareByLayer", `${layers.length} layers`, `${hitShareByLayer.length}`);
  for (const [layer, { experts }] of layers.entries()) {
    const shares = hitShareByLayer[layer]!;
    const field = `hitShareByLayer[${layer}]`;
    if ((shares === null) !== (experts === null))
      refuse(field, experts ? "a curve" : "null", shares ? "a curve" : "null");
    if (shares && experts && !isCurve(shares, experts.count))
      refuse(field, `${experts.count + 1} shares from 0 to 1 that do not shrink`, showValue(shares));
  }
}

function isCurve(shares: readonly number[], count: number): boolean {
  return (
    shares.length === count + 1 &&
    shares[0] === 0 &&
    shares[count] === 1 &&
    shares.every((share, i) => i === 0 || share >= shares[i - 1]!)
  );
}

/** H(s), s any number from 0 to the number of experts: linear between whole slots. */
export function hitShare(locality: ExpertLocality, layer: number, slots: number): number {
  const shares = locality.hitShareByLayer[layer];
  assert(shares != null, `layer ${layer} has experts`);
  return shareAt(shares, slots);
}

function shareAt(shares: readonly number[], slots: number): number {
  const below = Math.min(Math.floor(slots), shares.length - 2);
  return shares[below]! + Math.min(1, slots - below) * (shares[below + 1]! - shares[below]!);
}

/** U(n): different experts that `tokens` tokens in a row use. */
export function expertUnion(locality: ExpertLocality, layer: number, chosen: number, tokens: number): number {
  return grown(locality, layer, chosen, 0, tokens);
}

export interface ExpertCacheUse {
  readonly slots: number;
  /** Of the policy, the current token included; Infinity: only pressure evicts. */
  readonly windowTokens: number;
  /** Tokens that the cache has seen before. */
  readonly seenTokens: number;
}

/**
 * Experts that `tokens` tokens at once must load, each of them once: those that none of the held ones, and none of the tokens before, has brought. More
 * slots, a longer window and more tokens seen never load more.
 */
export function expertsLoaded(
  locality: ExpertLocality,
  layer: number,
  chosen: number,
  { slots, windowTokens, seenTokens }: ExpertCacheUse,
  tokens = 1,
): number {
  const remembered = Math.min(windowTokens, seenTokens);
  const held = Math.min(slots, expertUnion(locality, layer, chosen, remembered));
  const fresh = grown(locality, layer, chosen, held, tokens) - held;
  return Math.min(fresh, expertUnion(locality, layer, chosen, tokens));
}

/** What `tokens` tokens make of a set of the `from` experts used last. */
function grown(locality: ExpertLocality, layer: number, chosen: number, from: number, tokens: number): number {
  const shares = locality.hitShareByLayer[layer]!;
  const count = shares.length - 1;
  if (from === 0) return unionAt(shares, chosen, tokens);
  let union = from;
  for (let i = 0; i < tokens && union < count; i++) union += chosen * (1 - shareAt(shares, union));
  return Math.min(count, union);
}

/** U(0), U(1) … of a curve, as far as anybody asked: planning asks some ten thousand times. */
const unions = new WeakMap<readonly number[], Map<number, number[]>>();

function unionAt(shares: readonly number[], chosen: number, tokens: number): number {
  const ofCurve = unions.get(shares) ?? new Map<number, number[]>();
  unions.set(shares, ofCurve);
  const known = ofCurve.get(chosen) ?? [0];
  ofCurve.set(chosen, known);
  const count = shares.length - 1;
  while (known.length <= tokens) {
    const union = known.at(-1)!;
    const fresh = chosen * (1 - shareAt(shares, union));
    // Tokens that go on bring nothing new.
    if (fresh < LEAST_FRESH) return union;
    known.push(Math.min(count, union + fresh));
  }
  return known[tokens]!;
}

/** Experts a token. */
const LEAST_FRESH = 1e-9;
