/**
 * How often a token's experts are still in a cache of a given policy: the engine's own cache class replayed over a trace. `localityOfTrace` of the cost
 * model needs one pass for all sizes, and knows least recently used alone.
 */
import { checkExpertTrace, type ExpertLocality } from "@flashwick/cost-model";
import type { NeuronTrace } from "@flashwick/dram-cache/simulate";
import type { CachePolicyChoice } from "./cache-policy.js";
import { simulateTrace } from "./simulate-trace.js";

/** The caches that a trace's hits are counted with. */
export interface PolicyLocalityOptions {
  readonly policy: CachePolicyChoice;
  /** Experts by layer; 0 where it has none. */
  readonly counts: readonly number[];
  /** Slots of a layer at which hits are counted; between them the curve is straight. Default: each eighth of the experts. */
  readonly slots?: readonly number[] | undefined;
  /** Tokens from the trace's beginning, such as a prompt's, that are seen and not counted. Default 0. */
  readonly warmUpTokens?: number;
}

/** A curve's point: slots, and the share of chosen experts that they held. */
type Point = readonly [slots: number, hits: number];

/**
 * @param source Of the trace: a file, for messages as well.
 * @throws As `localityOfTrace` and `simulateTrace`.
 * Cost: O(chosen experts) for each number of slots, times what the policy says.
 */
export function policyLocality(source: string, trace: NeuronTrace, options: PolicyLocalityOptions): ExpertLocality {
  const { counts, warmUpTokens } = options;
  checkExpertTrace(source, trace.tokens, counts, warmUpTokens);
  return {
    source: `${source}, ${options.policy.policy}`,
    hitShareByLayer: counts.map((count, layer) => (count === 0 ? null : layerCurve(trace, layer, count, options))),
  };
}

function layerCurve(trace: NeuronTrace, layer: number, count: number, options: PolicyLocalityOptions): number[] {
  const { policy, warmUpTokens = 0, slots = eighths(count) } = options;
  const tokens = trace.tokens.map((layers) => [layers[layer]!]);
  const own: NeuronTrace = { nLayers: 1, dFf: count, tokens };
  const between = [...new Set(slots)].filter((at) => at > 0 && at < count).sort((a, b) => a - b);
  const points: Point[] = [[0, 0]];
  for (const at of between) {
    const { missShare } = simulateTrace(own, { ...policy, slots: at, strideBytes: 1, warmUpTokens });
    // More slots may hold less, where a policy counts; a cost has no use for that.
    points.push([at, Math.max(points.at(-1)![1], 1 - missShare)]);
  }
  points.push([count, 1]);
  return Array.from({ length: count + 1 }, (_, at) => shareAt(points, at));
}

function eighths(count: number): number[] {
  return Array.from({ length: 7 }, (_, i) => Math.max(1, Math.round(((i + 1) * count) / 8)));
}

function shareAt(points: readonly Point[], at: number): number {
  const next = points.findIndex(([slots]) => slots >= at);
  const [slots, hits] = points[next]!;
  if (next === 0) return hits;
  const [before, from] = points[next - 1]!;
  return from + ((at - before) / (slots - before)) * (hits - from);
}
