/** Replaying a trace: the same class that the engine asks, hence exactly the engine's own hits, misses and bytes. */
import { InputError } from "@flashwick/core";
import type { CachePolicy } from "../cache-policy.js";
import type { CacheCounters, CacheWave, NeuronCache } from "../plan.js";
import { createNeuronCache } from "../slot-cache.js";
import { checkTrace, type NeuronTrace } from "./neuron-trace.js";

/** The cache that a trace is replayed through. */
export interface ReplayOptions {
  /** Slots of each layer, or of every layer; of a pool in all. */
  readonly slots: number | readonly number[];
  /** A policy of each layer; of a pool that of layer 0. */
  readonly policy: (layer: number) => CachePolicy;
  /** Bytes of a neuron on flash: both halves; or of an expert. */
  readonly slotBytes: number;
  /** One cache of all layers, whose units are `layer * dFf + unit`. Default false: one for each layer. */
  readonly pool?: boolean;
  /** So many consecutive tokens are admitted at once; the last step may have fewer. Default 1. */
  readonly stepTokens?: number;
  /**
   * Sees every wave, layer after layer, or in a pool token after token: what it would read, and the copies it asks for.
   * Its arrays are used again. `token` is the index of the step's first.
   */
  readonly onWave?: (layer: number, token: number, wave: CacheWave) => void;
}

/** What a cache made of a trace. */
export interface ReplayResult {
  /** Counters by layer. */
  readonly layers: readonly Readonly<CacheCounters>[];
  /** Their sum; a token counts once a layer. */
  readonly total: Readonly<CacheCounters>;
  /** Bytes that the misses read, by layer and in all. */
  readonly flashBytesByLayer: readonly number[];
  readonly flashBytes: number;
  /** By cache, one a layer or the pool's: `effectiveWindowTokens` after each step, on average. */
  readonly meanWindowTokens: readonly number[];
}

/**
 * @throws {InputError} `INPUT_INVALID` if the trace is not as its type says, `slots` are not one for each layer, or
 *   steps have no token.
 */
export function replayTrace(trace: NeuronTrace, options: ReplayOptions): ReplayResult {
  const { slotBytes, stepTokens = 1 } = options;
  checkTrace(trace);
  if (!(Number.isSafeInteger(stepTokens) && stepTokens >= 1)) {
    throw new InputError("INPUT_INVALID", `steps of ${stepTokens} tokens, expected an integer of at least 1`);
  }
  const { layers, meanWindowTokens } = options.pool ? replayPool(trace, options) : replayLayers(trace, options);
  const flashBytesByLayer = layers.map(({ misses }) => misses * slotBytes);
  return {
    layers,
    total: sumCounters(layers),
    flashBytesByLayer,
    flashBytes: flashBytesByLayer.reduce((sum, bytes) => sum + bytes, 0),
    meanWindowTokens,
  };
}

type Replayed = Pick<ReplayResult, "layers" | "meanWindowTokens">;

function replayLayers(trace: NeuronTrace, options: ReplayOptions): Replayed {
  const { slots, policy } = options;
  const slotsByLayer = typeof slots === "number" ? new Array<number>(trace.nLayers).fill(slots) : slots;
  if (slotsByLayer.length !== trace.nLayers) {
    const message = `slots of ${slotsByLayer.length} layers, expected the trace's ${trace.nLayers}, or one number for all`;
    throw new InputError("INPUT_INVALID", message);
  }
  const replays = slotsByLayer.map((slotCount, layer) =>
    replayLayer(trace, layer, createNeuronCache({ dFf: trace.dFf, slotCount, policy: policy(layer) }), options),
  );
  return {
    layers: replays.map(({ counters }) => counters),
    meanWindowTokens: replays.map(({ meanWindowTokens }) => meanWindowTokens),
  };
}

function replayLayer(
  { tokens }: NeuronTrace,
  layer: number,
  cache: NeuronCache,
  { stepTokens = 1, onWave }: ReplayOptions,
) {
  let windows = 0;
  for (let t = 0; t < tokens.length; t += stepTokens) {
    const sets = tokens.slice(t, t + stepTokens).map((layers) => layers[layer]!);
    for (const wave of cache.admit(sets)) onWave?.(layer, t, wave);
    windows += cache.effectiveWindowTokens;
  }
  const steps = Math.ceil(tokens.length / stepTokens);
  return { counters: cache.counters, meanWindowTokens: windows / Math.max(1, steps) };
}

/** Layer after layer of each step, as an engine goes. */
function replayPool(trace: NeuronTrace, { slots, policy, stepTokens = 1, onWave }: ReplayOptions): Replayed {
  const { nLayers, dFf, tokens } = trace;
  if (typeof slots !== "number") {
    throw new InputError(
      "INPUT_INVALID",
      `slots of ${slots.length} layers, expected one number, since a pool has no slots of a layer`,
    );
  }
  const cache = createNeuronCache({ dFf: nLayers * dFf, nLayers, slotCount: slots, policy: policy(0) });
  const layers = Array.from({ length: nLayers }, () => zeroCounters());
  let windows = 0;
  for (let t = 0; t < tokens.length; t += stepTokens) {
    for (let layer = 0; layer < nLayers; layer++) {
      const before = { ...cache.counters };
      const sets = tokens.slice(t, t + stepTokens).map((sets) => sets[layer]!.map((unit) => layer * dFf + unit));
      for (const wave of cache.admit(sets)) onWave?.(layer, t, wave);
      addCounters(layers[layer]!, cache.counters, before);
    }
    windows += cache.effectiveWindowTokens;
  }
  const steps = Math.ceil(tokens.length / stepTokens);
  return { layers, meanWindowTokens: [windows / Math.max(1, steps)] };
}

function zeroCounters(): CacheCounters {
  return {
    tokens: 0,
    named: 0,
    hits: 0,
    misses: 0,
    evicted: 0,
    moves: 0,
    extraWaves: 0,
    seeded: 0,
    anticipated: 0,
    retracted: 0,
  };
}

function sumCounters(layers: readonly Readonly<CacheCounters>[]): CacheCounters {
  const sum = zeroCounters();
  for (const counters of layers) addCounters(sum, counters);
  return sum;
}

/** Adds what `counters` have counted since `before`. */
function addCounters(sum: CacheCounters, counters: Readonly<CacheCounters>, before = zeroCounters()): void {
  for (const key of Object.keys(sum) as (keyof CacheCounters)[]) sum[key] += counters[key] - before[key];
}
