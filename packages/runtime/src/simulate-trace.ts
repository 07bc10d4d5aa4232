/**
 * What a cache would have made of a recorded trace: the engine's own cache class and read plans, replayed without a byte being read, and what
 * the cost model says the reads take.
 */
import { assert, InputError } from "@flashwick/core";
import { batchReadMs, type DeviceProfile } from "@flashwick/cost-model";
import type { CacheCounters, CacheWave } from "@flashwick/dram-cache";
import { clairvoyantMisses, type NeuronTrace, pooledTrace, replayTrace } from "@flashwick/dram-cache/simulate";
import { planRuns } from "@flashwick/flash-io";
import { cachePolicy, POLICIES } from "./cache-policy.js";
import { MAX_READ_BYTES } from "./record-slots.js";

/** The engine's own, and for study the optimum, which knows the future. */
export const STUDY_POLICIES = [...POLICIES, "clairvoyant"] as const;
/** A policy that a replay may study. */
export type StudyPolicy = (typeof STUDY_POLICIES)[number];

/** Those that differ: in a cache of one layer, least-stale is lru. */
export function studyPolicies(pool: boolean): readonly StudyPolicy[] {
  return STUDY_POLICIES.filter((policy) => pool || policy !== "least-stale");
}

/** The caches and the device that a trace is replayed on. */
export interface SimulateTraceOptions {
  readonly policy: StudyPolicy;
  /** Of every layer; of a pool in all. */
  readonly slots: number;
  /** One cache of all layers, as for experts. Default false: one for each layer. */
  readonly pool?: boolean;
  /** For `window` and `pinned`: tokens whose sets stay, the current one included; null: as many as fit. */
  readonly windowTokens?: number | null;
  /** From one record to the next in the file: what a missing neuron reads. */
  readonly strideBytes: number;
  /** 1: whole bundles; 2: both halves for themselves. Default 1. */
  readonly readsPerNeuron?: number;
  /** Unneeded bytes between two reads up to which they become one. Default 0. */
  readonly mergeGapBytes?: number;
  /** Tokens at the start that fill the cache and are not counted. Default 0. */
  readonly warmUpTokens?: number;
  /** Whose reads to time, with how many in flight; null: not timed. Default null. */
  readonly device?: { readonly profile: DeviceProfile; readonly readers: number } | null;
}

/** What caches made of a trace. */
export interface SimulatedTrace {
  readonly policy: StudyPolicy;
  readonly slots: number;
  /** Tokens counted. */
  readonly tokens: number;
  /** Per counted token, over all layers. */
  readonly perToken: {
    readonly named: number;
    readonly hits: number;
    readonly misses: number;
    /** Records copied within DRAM to keep slots dense; null for the optimum, which has no slots. */
    readonly moves: number | null;
    readonly flashBytes: number;
    readonly flashReads: number;
    /** What the cost model says the reads take with nothing beside them; null without a device. */
    readonly readMs: number | null;
  };
  /** Misses over named. */
  readonly missShare: number;
  /** Neighbouring records that one read brings, unneeded ones between them included, on average. */
  readonly recordsPerRead: number;
  /** Tokens whose sets the cache still held, on average over layers; null for the optimum. */
  readonly meanWindowTokens: number | null;
  /** Of the whole trace, the warm-up included: exactly the engine's. Null for the optimum. */
  readonly counters: Readonly<CacheCounters> | null;
}

/**
 * @throws {InputError} `INPUT_INVALID` for a damaged trace, no slots, or a warm-up that leaves no token.
 * Cost: O(named) a layer and token, times what the policy says.
 */
export function simulateTrace(trace: NeuronTrace, options: SimulateTraceOptions): SimulatedTrace {
  const { policy, slots, strideBytes, readsPerNeuron = 1, warmUpTokens = 0 } = options;
  const tokens = trace.tokens.length - warmUpTokens;
  if (tokens < 1) {
    const message = `a warm-up of ${warmUpTokens} tokens leaves none of the trace's ${trace.tokens.length}; warm up on fewer`;
    throw new InputError("INPUT_INVALID", message);
  }
  const reads = new ReadTally(options, warmUpTokens);
  const optimum = () => foresee(options.pool ? pooledTrace(trace) : trace, slots, reads);
  const replayed = policy === "clairvoyant" ? optimum() : replay(trace, options, policy, reads);
  const { misses, moves, records, runs, readMs } = reads;
  const named = trace.tokens.slice(warmUpTokens).reduce((sum, sets) => sum + countNeurons(sets), 0);
  return {
    policy,
    slots,
    tokens,
    perToken: {
      named: named / tokens,
      hits: (named - misses) / tokens,
      misses: misses / tokens,
      moves: replayed.counters && moves / tokens,
      flashBytes: (records * strideBytes * readsPerNeuron) / tokens,
      flashReads: (runs * readsPerNeuron) / tokens,
      readMs: readMs === null ? null : readMs / tokens,
    },
    missShare: named === 0 ? 0 : misses / named,
    recordsPerRead: runs === 0 ? 0 : records / runs,
    ...replayed,
  };
}

type Replayed = Pick<SimulatedTrace, "counters" | "meanWindowTokens">;

function replay(
  trace: NeuronTrace,
  { slots, pool = false, windowTokens = null, strideBytes, readsPerNeuron = 1 }: SimulateTraceOptions,
  name: Exclude<StudyPolicy, "clairvoyant">,
  reads: ReadTally,
): Replayed {
  const { total, meanWindowTokens } = replayTrace(trace, {
    slots,
    pool,
    policy: () =>
      pool
        ? cachePolicy({ policy: name, windowTokens }, trace.nLayers * trace.dFf, trace.nLayers)
        : cachePolicy({ policy: name, windowTokens }, trace.dFf),
    slotBytes: strideBytes * readsPerNeuron,
    onWave: (_, token, wave) => reads.add(token, wave),
  });
  return {
    counters: total,
    meanWindowTokens: meanWindowTokens.reduce((sum, window) => sum + window, 0) / meanWindowTokens.length,
  };
}

/** A token's misses of a layer are read at once. */
function foresee(trace: NeuronTrace, slots: number, reads: ReadTally): Replayed {
  for (let layer = 0; layer < trace.nLayers; layer++) {
    for (const [token, neurons] of clairvoyantMisses(trace, layer, slots).entries()) {
      const all = Uint32Array.from(neurons, (_, i) => i);
      reads.add(token, { neurons, slots: all, misses: all, moves: NONE });
    }
  }
  return { counters: null, meanWindowTokens: null };
}

const NONE = new Uint32Array(0);

/** Sums over the tokens after the warm-up. */
class ReadTally {
  misses = 0;
  moves = 0;
  /** Records read, unneeded ones between missing ones included. */
  records = 0;
  runs = 0;
  readMs: number | null;
  readonly #options: SimulateTraceOptions;
  readonly #warmUpTokens: number;

  constructor(options: SimulateTraceOptions, warmUpTokens: number) {
    this.#options = options;
    this.#warmUpTokens = warmUpTokens;
    this.readMs = options.device ? 0 : null;
  }

  add(
    token: number,
    { neurons, slots, misses, moves }: Pick<CacheWave, "neurons" | "slots" | "misses" | "moves">,
  ): void {
    if (token < this.#warmUpTokens) return;
    const { strideBytes, readsPerNeuron = 1, mergeGapBytes = 0, device } = this.#options;
    const places = { fileOffset: 0, strideBytes, slotBase: 0, slotBytes: strideBytes };
    const limits = { maxReadBytes: MAX_READ_BYTES, maxGapBytes: mergeGapBytes, gapPtr: 0 };
    const runs = planRuns(places, neurons, slots, misses, limits);
    const bytes = runs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    assert(moves.length % 2 === 0, "moves are pairs");
    this.misses += misses.length;
    this.moves += moves.length / 2;
    this.records += bytes / strideBytes;
    this.runs += runs.length;
    if (!device || runs.length === 0) return;
    const { flash } = device.profile;
    this.readMs! += batchReadMs(flash, runs.length * readsPerNeuron, bytes / runs.length, device.readers);
  }
}

function countNeurons(sets: readonly Uint32Array[]): number {
  return sets.reduce((sum, { length }) => sum + length, 0);
}
