/** A quick look at how much rank a layer needs: short trainings at low ranks. Runs inside a worker. */
import type { KernelFactory } from "@flashwick/kernels";
import type { ProbePoint, RankProbe } from "./rank-plan.js";
import type { LayerSamples } from "./sample-store.js";
import { DEFAULT_NAMED_PER_ACTIVE, type LayerTrainingOptions, trainLayer } from "./train-layer.js";

/**
 * A probe is a fifth of the training's own cost. It needs many samples and many steps: with 40 k tokens and batches of 128 it
 * ranked the OPT demo's layers wrongly, with 60 k seen twice it misjudged the sparsest.
 */
const PROBE_TOKENS = 150_000;
const PROBE_EPOCHS = 1;
const PROBE_BATCH_TOKENS = 64;
const PROBE_HELD_OUT_TOKENS = 4096;

/** How {@link probeLayer} trains for its few seconds. */
export interface LayerProbeOptions extends Omit<LayerTrainingOptions, "rank" | "resume" | "onCheckpoint"> {
  /** Ascending, at least two: `probeRanks`. */
  readonly ranks: readonly number[];
}

/**
 * Probes a layer: trains each rank for one epoch over a subset.
 *
 * @throws As `trainLayer`.
 */
export async function probeLayer(
  factory: KernelFactory,
  samples: LayerSamples,
  options: LayerProbeOptions,
): Promise<RankProbe> {
  const points: ProbePoint[] = [];
  let massPerToken = 0;
  const { namedPerActive = DEFAULT_NAMED_PER_ACTIVE } = options;
  for (const rank of options.ranks) {
    const { curve, epochs } = await trainLayer(factory, samples, {
      maxTokens: PROBE_TOKENS,
      maxHeldOutTokens: PROBE_HELD_OUT_TOKENS,
      epochs: PROBE_EPOCHS,
      batchTokens: PROBE_BATCH_TOKENS,
      ...options,
      namedPerActive,
      rank,
    });
    points.push({ rank, missedMass: epochs.at(-1)!.missedMass });
    massPerToken = curve.mass / curve.tokens;
  }
  return { layer: samples.layer, points, massPerToken };
}
