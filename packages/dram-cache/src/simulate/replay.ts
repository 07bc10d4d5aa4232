/** Replaying a trace: the same class that the engine asks, hence exactly the engine's own hits, misses and bytes. */
import { InputError } from "@flashwick/core";
import type { CachePolicy } from "../cache-policy.js";
import type { CacheCounters, CacheWave } from "../plan.js";
import { createNeuronCache } from "../slot-cache.js";
import { checkTrace, type NeuronTrace } from "./neuron-trace.js";

export interface ReplayOptions {
  /** Slots of each layer, or of every layer. */
  readonly slots: number | readonly number[];
  /** A policy of each layer. */
  readonly policy: (layer: number) => CachePolicy;
  /** Bytes of a neuron on flash: both halves. */
  readonly slotBytes: number;
  /** Sees every wave, layer after layer: what it would read, and the copies it asks for. Its arrays are used again. */
  readonly onWave?: (layer: number, token: number, wave: CacheWave) => void;
}

export interface ReplayResult {
  /** Counters by layer. */
  readonly layers: readonly Readonly<CacheCounters>[];
  /** Their sum; a token counts once a layer. */
  readonly total: Readonly<CacheCounters>;
  /** Bytes that the misses read, by layer and in all. */
  readonly flashBytesByLayer: readonly number[];
  readonly flashBytes: number;
  /** By layer: `effectiveWindowTokens` after each token, on average. */
  readonly meanWindowTokens: readonly number[];
}

/** @throws {InputError} `INPUT_INVALID` if the trace is not as its type says, or `slots` are not one for each layer. */
export function replayTrace(trace: NeuronTrace, { slots, policy, slotBytes, onWave }: ReplayOptions): ReplayResult {
  checkTrace(trace);
  const slotsByLayer = typeof slots === "number" ? new Array<number>(trace.nLayers).fill(slots) : slots;
  if (slotsByLayer.length !== trace.nLayers) {
    const message = `slots of ${slotsByLayer.length} layers, expected the trace's ${trace.nLayers}, or one number for all`;
    throw new InputError("INPUT_INVALID", message);
  }
  const replays = slotsByLayer.map((slotCount, layer) => replayLayer(trace, layer, slotCount, policy(layer), onWave));
  const layers = replays.map(({ counters }) => counters);
  const flashBytesByLayer = layers.map(({ misses }) => misses * slotBytes);
  return {
    layers,
    total: sumCounters(layers),
    flashBytesByLayer,
    flashBytes: flashBytesByLayer.reduce((sum, bytes) => sum + bytes, 0),
    meanWindowTokens: replays.map(({ meanWindowTokens }) => meanWindowTokens),
  };
}

function replayLayer(
  { dFf, tokens }: NeuronTrace,
  layer: number,
  slotCount: number,
  policy: CachePolicy,
  onWave: ReplayOptions["onWave"],
) {
  const cache = createNeuronCache({ dFf, slotCount, policy });
  let windows = 0;
  for (const [t, sets] of tokens.entries()) {
    for (const wave of cache.admit(sets[layer]!)) onWave?.(layer, t, wave);
    windows += cache.effectiveWindowTokens;
  }
  return { counters: cache.counters, meanWindowTokens: windows / Math.max(1, tokens.length) };
}

function sumCounters(layers: readonly Readonly<CacheCounters>[]): CacheCounters {
  const sum = {
    tokens: 0,
    named: 0,
    hits: 0,
    misses: 0,
    evicted: 0,
    moves: 0,
    extraWaves: 0,
    seeded: 0,
    anticipated: 0,
  };
  for (const counters of layers)
    for (const key of Object.keys(sum) as (keyof CacheCounters)[]) sum[key] += counters[key];
  return sum;
}
