/**
 * What the cost model expects of a run whose neurons are known from a recording: the engine's own cache and read plans, replayed without
 * a byte being read, then the discrete-event simulation. Nothing about the text is left to statistics, so bytes and reads are those that
 * the engine will count; what can be wrong is time.
 */
import type { PredictedRun } from "@flashwick/core";
import { type NeuronUse, simulateRun } from "@flashwick/cost-model/simulate";
import { createNeuronCache, type NeuronCache } from "@flashwick/dram-cache";
import { type ModelHeader, recordLayout } from "@flashwick/flash-format";
import { type FlashRun, planRuns } from "@flashwick/flash-io";
import { type CachePolicyChoice, cachePolicy } from "./cache-policy.js";
import { shapeOf } from "./model-shape.js";
import type { RunToPredict } from "./predicted-run.js";
import { MAX_READ_BYTES } from "./record-slots.js";
import { SEED_TOKENS } from "./sequence.js";

/** Which neurons the tokens of a run named. */
export interface RecordedSets {
  /** Named neurons by `[token][layer]`, ascending; the prompt's tokens first. */
  readonly sets: readonly (readonly Uint32Array[])[];
  readonly promptTokens: number;
}

export interface RunToReplay extends Omit<RunToPredict, "sparsity" | "length"> {
  readonly policy: CachePolicyChoice;
  readonly recorded: RecordedSets;
  /** Of the decoded tokens, the first ones that are left out of the means. */
  readonly warmUpTokens: number;
}

/** What the cost model expects of a recorded run. */
export interface ReplayedRun extends Omit<PredictedRun, "prefillMs"> {
  /** Of the tokens after the warm-up; without scatter of the device itself. */
  readonly tokenMsQuantiles: { readonly p50: number; readonly p90: number; readonly p99: number };
}

/**
 * Which reads decoding would make, by `[token][layer]`, after a prefill of the prompt in one batch.
 *
 * Cost: the engine's `cache` phase.
 */
export function replayUse(
  header: ModelHeader,
  slotsByLayer: readonly number[],
  policy: CachePolicyChoice,
  mergeGapBytes: number,
  { sets, promptTokens }: RecordedSets,
): NeuronUse[][] {
  const { layers } = header.geometry;
  const { slotBytes, strideBytes } = recordLayout(header);
  const limits = { maxReadBytes: MAX_READ_BYTES, maxGapBytes: mergeGapBytes, gapPtr: 0 };
  const places = { fileOffset: 0, strideBytes, slotBase: 0, slotBytes };
  const seeds = sets.slice(Math.max(0, promptTokens - SEED_TOKENS), promptTokens);
  const caches = slotsByLayer.map((slotCount, layer) => {
    const { dFf } = layers[layer]!.ffn;
    const cache = createNeuronCache({ dFf, slotCount, policy: cachePolicy(policy, dFf) });
    const seed = seeds.map((set) => set[layer]!);
    prefilled(cache, dFf, seed);
    return cache;
  });
  return sets.slice(promptTokens).map((namedByLayer) =>
    namedByLayer.map((named, layer): NeuronUse => {
      const runs: FlashRun[] = [];
      let missing = 0;
      for (const wave of caches[layer]!.admit(named)) {
        missing += wave.misses.length;
        planRuns(places, wave.neurons, wave.slots, wave.misses, limits, runs);
      }
      return {
        named: Math.max(1, named.length),
        missing,
        runs: runs.map(({ sizeBytes }) => sizeBytes / strideBytes),
        extraPieces: runs.reduce((sum, { pieces }) => sum + pieces.length - 1, 0),
      };
    }),
  );
}

/** As a prefill leaves a layer's cache. */
function prefilled(cache: NeuronCache, dFf: number, seeds: readonly Uint32Array[]): void {
  const all = Uint32Array.from({ length: dFf }, (_, i) => i);
  if (cache.slotCount >= dFf) for (const _ of cache.admit(all));
  else if (seeds.length > 0) {
    cache.seed(seeds);
    cache.fill(all);
  }
}

/** @throws {InputError} if the recording is not of this model's shape. */
export function replayRun(run: RunToReplay): ReplayedRun {
  const { header, profile, predictor, plan, settings, policy, recorded, warmUpTokens } = run;
  const shape = shapeOf(header, predictor);
  const { slotsByLayer, kvPrecision } = plan;
  const use = replayUse(header, slotsByLayer, policy, settings.mergeGapBytes, recorded);
  const position = recorded.promptTokens + warmUpTokens;
  const measured = use.slice(warmUpTokens);
  const { totalMs, phasesMs, readBusyMs } = simulateRun({
    ...{ shape, profile, settings, slotsByLayer, kvPrecision, position },
    use: measured,
    clumping: null,
  });
  const runs = measured.flatMap((layers) => layers.flatMap((of) => of.runs ?? []));
  const neurons = runs.reduce((sum, run) => sum + run, 0);
  const { wait, guess, ...phases } = phasesMs;
  return {
    device: profile.name,
    tokenMs: totalMs.mean,
    tokenMsQuantiles: { p50: totalMs.p50, p90: totalMs.p90, p99: totalMs.p99 },
    msPerToken: { ...phases, predict: phases.predict + guess, readWait: wait },
    flashMsPerToken: readBusyMs.mean,
    flashBytesPerToken: (neurons * shape.strideBytes * shape.readsPerNeuron) / measured.length,
    readsPerToken: (runs.length * shape.readsPerNeuron) / measured.length,
  };
}
