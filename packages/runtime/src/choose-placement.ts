/**
 * Which order of a layer's neurons on flash makes a recorded trace's misses fastest to read: candidates are made from the first half of the
 * trace and judged on the second, with the cache in front, since what hits is never read.
 */
import { InputError } from "@flashwick/core";
import {
  coActivationOrder,
  hotnessOrder,
  type NeuronTrace,
  placeTrace,
  replayTrace,
} from "@flashwick/dram-cache/simulate";
import { cachePolicy } from "./cache-policy.js";
import { type SimulatedTrace, type SimulateTraceOptions, simulateTrace } from "./simulate-trace.js";

/**
 * `identity`: as the checkpoint has them; `hotness`: by falling frequency; `co-activation`: chains of what is named together; `co-miss`: chains of
 * what the cache misses together.
 */
export const PLACEMENT_ORDERS = ["identity", "hotness", "co-activation", "co-miss"] as const;
/** How neurons may be ordered on flash. */
export type PlacementOrder = (typeof PLACEMENT_ORDERS)[number];

/** The cache and the device that orders are compared on. */
export interface ChoosePlacementOptions extends Omit<SimulateTraceOptions, "policy" | "device" | "warmUpTokens"> {
  readonly device: NonNullable<SimulateTraceOptions["device"]>;
  /** An order is taken only if it reads faster than `identity` by more than this share. Default 0.02. */
  readonly margin?: number;
}

/** The order that reads a trace fastest, and what each of them costs. */
export interface PlacementChoice {
  readonly order: PlacementOrder;
  /** By layer, at i: which neuron record i holds. Null for `identity`. */
  readonly placement: readonly Uint32Array[] | null;
  /** On the held-out half, one of each of {@link PLACEMENT_ORDERS}. */
  readonly candidates: readonly { readonly order: PlacementOrder; readonly heldOut: SimulatedTrace }[];
}

/** Of the held-out half, an eighth fills the cache. */
const WARM_UP_SHARE = 1 / 8;
const DEFAULT_MARGIN = 0.02;
const LEAST_TOKENS = 64;

/**
 * @throws {InputError} `INPUT_INVALID` for a trace of fewer than 64 tokens.
 * Cost: four replays of half the trace, and O(Σ n²) over its tokens of n neurons.
 */
export function choosePlacement(trace: NeuronTrace, options: ChoosePlacementOptions): PlacementChoice {
  const count = trace.tokens.length;
  if (count < LEAST_TOKENS) {
    const message = `a placement from ${count} tokens, expected ${LEAST_TOKENS} at least; record a longer trace`;
    throw new InputError("INPUT_INVALID", message, { details: { tokens: count } });
  }
  const seen = { ...trace, tokens: trace.tokens.slice(0, count >> 1) };
  const heldOut = { ...trace, tokens: trace.tokens.slice(count >> 1) };
  const warmUpTokens = Math.floor(heldOut.tokens.length * WARM_UP_SHARE);
  const judged = PLACEMENT_ORDERS.map((order) => {
    const placement = orderNeurons(order, seen, options);
    const placed = placement ? placeTrace(heldOut, placement) : heldOut;
    return { order, placement, heldOut: simulateTrace(placed, { ...options, policy: "window", warmUpTokens }) };
  });
  const readMs = ({ heldOut: { perToken } }: (typeof judged)[number]) => perToken.readMs!;
  const fastest = judged.reduce((best, one) => (readMs(one) < readMs(best) ? one : best));
  const isWorthIt = readMs(fastest) < (1 - (options.margin ?? DEFAULT_MARGIN)) * readMs(judged[0]!);
  const { order, placement } = isWorthIt ? fastest : judged[0]!;
  return { order, placement, candidates: judged.map(({ order, heldOut }) => ({ order, heldOut })) };
}

function orderNeurons(
  order: PlacementOrder,
  trace: NeuronTrace,
  options: ChoosePlacementOptions,
): Uint32Array[] | null {
  const layers = Array.from({ length: trace.nLayers }, (_, layer) => layer);
  switch (order) {
    case "identity":
      return null;
    case "hotness":
      return layers.map((layer) => hotnessOrder(trace, layer));
    case "co-activation":
      return layers.map((layer) => coActivationOrder(trace, layer));
    case "co-miss": {
      const misses = missesOf(trace, options);
      return layers.map((layer) => coActivationOrder(misses, layer));
    }
  }
}

/** What the cache would have missed of each set. */
function missesOf(
  trace: NeuronTrace,
  { slots, windowTokens = null, strideBytes }: ChoosePlacementOptions,
): NeuronTrace {
  const missed = trace.tokens.map((sets) => sets.map((): number[] => []));
  replayTrace(trace, {
    slots,
    policy: () => cachePolicy({ policy: "window", windowTokens }, trace.dFf),
    slotBytes: strideBytes,
    onWave: (layer, token, { neurons, misses }) => {
      for (const i of misses) missed[token]![layer]!.push(neurons[i]!);
    },
  });
  return { ...trace, tokens: missed.map((sets) => sets.map((neurons) => Uint32Array.from(neurons))) };
}
