/** What pruned FFNs read: of every token, and of what caches would have held. */
import { InputError } from "@flashwick/core";
import type { ModelHeader } from "@flashwick/flash-format";
import type { CachePolicyChoice } from "../cache-policy.js";
import { PlannedPruner, type Stage, type UnitNorms } from "./planned-pruner.js";
import type { PruningPlan } from "./pruning-plan.js";
import { type UnitBytes, unitBytes } from "./unit-bytes.js";
import { slotsOfShare, UnitCaches } from "./unit-caches.js";

/** A cache of each kind of unit. */
type StageCaches = Readonly<Record<Stage, UnitCaches>>;

/** One way of pruning, and the caches that its reads are counted with. */
export interface PruningRun {
  readonly plan: PruningPlan;
  /** Shares of each layer's units that DRAM holds, a cache for each; default: none is asked about. */
  readonly cacheShares?: readonly number[];
  /** Of the caches. Default `lfu`. */
  readonly policy?: CachePolicyChoice["policy"];
  /** Below 1, what the first of the caches holds is preferred, and the result depends on it. Default 1. */
  readonly gamma?: number;
}

/** Reads of one cache. */
export interface CacheResult {
  /** Of the units. */
  readonly share: number;
  /** Of FFNs: what a cache of that size lacked. What is read for every token counts as held, since it is the same for all. */
  readonly flashBytesPerToken: number;
  readonly hitShare: number;
  /** Units that were read, means over tokens. */
  readonly missesByLayer: Readonly<Record<Stage, readonly number[]>>;
}

/** What was read. Shares are means over tokens. */
export interface PrunedReads {
  readonly inputShareByLayer: readonly number[];
  readonly outputShareByLayer: readonly number[];
  /** Of FFNs, without a cache. */
  readonly bytesPerToken: number;
  readonly denseBytesPerToken: number;
  readonly caches: readonly CacheResult[];
}

const STAGES: readonly Stage[] = ["inputs", "outputs"];

export class PruningTally {
  readonly pruner: PlannedPruner;
  readonly #header: ModelHeader;
  readonly #bytes: readonly UnitBytes[];
  readonly #shares: readonly number[];
  readonly #caches: readonly StageCaches[];
  readonly #kept: Readonly<Record<Stage, Float64Array>>;
  /** Of the first layer: tokens so far. */
  #tokens = 0;

  /** @throws {InputError} as `PlannedPruner`; for a γ below 1 without a cache. */
  constructor(
    { plan, cacheShares = [], policy = "lfu", gamma }: PruningRun,
    header: ModelHeader,
    norms: readonly UnitNorms[],
  ) {
    const nLayers = header.geometry.layers.length;
    this.#header = header;
    this.#bytes = unitBytes(header, plan.method);
    this.#shares = cacheShares;
    this.#caches = cacheShares.map((share) => cachesOf(header, share, policy));
    this.#kept = { inputs: new Float64Array(nLayers), outputs: new Float64Array(nLayers) };
    this.pruner = new PlannedPruner(plan, { norms, gamma, caches: this.#caches[0], onChosen: this.#onChosen });
  }

  readonly #onChosen = (stage: Stage, layer: number, set: Uint32Array | null, scores: Float32Array) => {
    if (stage === "inputs" && layer === 0) this.#tokens++;
    this.#kept[stage][layer]! += set?.length ?? scores.length;
    // What costs nothing needs no cache.
    if (this.#bytes[layer]![stage] > 0) for (const caches of this.#caches) caches[stage].use(layer, set, scores);
  };

  #means({ missesByLayer }: UnitCaches): number[] {
    return Array.from(missesByLayer, (misses) => misses / this.#tokens);
  }

  result(): PrunedReads {
    const { dModel, layers } = this.#header.geometry;
    const perToken = (stage: Stage, of: Float64Array) =>
      this.#bytes.reduce((sum, bytes, l) => sum + (bytes[stage] * of[l]!) / this.#tokens, 0);
    const total = (part: "always" | "dense") => this.#bytes.reduce((sum, bytes) => sum + bytes[part], 0);
    return {
      inputShareByLayer: Array.from(this.#kept.inputs, (count) => count / this.#tokens / dModel),
      outputShareByLayer: Array.from(this.#kept.outputs, (count, l) => count / this.#tokens / layers[l]!.ffn.dFf),
      bytesPerToken: total("always") + perToken("inputs", this.#kept.inputs) + perToken("outputs", this.#kept.outputs),
      denseBytesPerToken: total("dense"),
      caches: this.#caches.map((caches, i) => ({
        share: this.#shares[i]!,
        flashBytesPerToken: STAGES.reduce((sum, stage) => sum + perToken(stage, caches[stage].missesByLayer), 0),
        hitShare: hitShareOf(caches),
        missesByLayer: { inputs: this.#means(caches.inputs), outputs: this.#means(caches.outputs) },
      })),
    };
  }
}

function cachesOf({ geometry }: ModelHeader, share: number, policy: CachePolicyChoice["policy"]): StageCaches {
  if (!(share > 0 && share <= 1)) {
    throw new InputError("INPUT_INVALID", `a cache of ${share} of the units, expected a share above 0 and up to 1`);
  }
  const { dModel, layers } = geometry;
  const cachesOfUnits = (units: number[]) => new UnitCaches(units, slotsOfShare(units, share), policy);
  return {
    inputs: cachesOfUnits(layers.map(() => dModel)),
    outputs: cachesOfUnits(layers.map(({ ffn }) => ffn.dFf)),
  };
}

/** Of units, whatever their size. */
function hitShareOf(caches: StageCaches): number {
  const [named, hits] = (["named", "hits"] as const).map((count) =>
    STAGES.reduce((sum, stage) => sum + caches[stage].counters[count], 0),
  );
  return named === 0 ? 1 : hits! / named!;
}
