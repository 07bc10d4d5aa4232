/** A quick look at how large a predictor a layer needs: short trainings at two ranks, rounded to each type. Runs inside a worker. */
import type { KernelFactory } from "@flashwick/kernels";
import type { PredictorDType } from "../predictor-matrix.js";
import { missedMassAt } from "./calibration-curve.js";
import { CurveMeter } from "./curve-meter.js";
import type { LayerSamples } from "./sample-store.js";
import { PLANNED_DTYPES, type ProbePoint, type SizeProbe } from "./size-plan.js";
import {
  DEFAULT_NAMED_PER_ACTIVE,
  type LayerTrainingOptions,
  storeWeights,
  type TrainedLayer,
  trainLayer,
} from "./train-layer.js";

/**
 * A probe is a fifth of the training's own cost. It needs many samples and many steps: with 40 k tokens and batches of 128 it
 * ranked the OPT demo's layers wrongly, with 60 k seen twice it misjudged the sparsest.
 */
const PROBE_TOKENS = 150_000;
const PROBE_EPOCHS = 1;
const PROBE_BATCH_TOKENS = 64;
const PROBE_HELD_OUT_TOKENS = 4096;

/** How {@link probeLayer} trains for its few seconds. */
export interface LayerProbeOptions extends Omit<LayerTrainingOptions, "rank" | "dtype" | "resume" | "onCheckpoint"> {
  /** Ascending, at least two: `planProbe`. */
  readonly ranks: readonly number[];
  /** Types to round to, which the ranks can be stored in. Default `PLANNED_DTYPES`. */
  readonly dtypes?: readonly PredictorDType[];
}

/**
 * Probes a layer: trains each rank for one epoch over a subset, and measures its weights in each type. They are rounded after training, so that four
 * bits look a little worse than they will be (`roundedEpochs`).
 *
 * @throws As `trainLayer`.
 */
export async function probeLayer(
  factory: KernelFactory,
  samples: LayerSamples,
  { ranks, dtypes = PLANNED_DTYPES, ...options }: LayerProbeOptions,
): Promise<SizeProbe> {
  const points: ProbePoint[] = [];
  let massPerToken = 0;
  for (const rank of ranks) {
    const trained = await trainLayer(factory, samples, {
      maxTokens: PROBE_TOKENS,
      maxHeldOutTokens: PROBE_HELD_OUT_TOKENS,
      epochs: PROBE_EPOCHS,
      batchTokens: PROBE_BATCH_TOKENS,
      ...options,
      dtype: "f32",
      rank,
    });
    points.push({ rank, missedMass: measureTypes(factory, samples, trained, dtypes, options) });
    massPerToken = trained.curve.mass / trained.curve.tokens;
  }
  return { layer: samples.layer, points, massPerToken };
}

/** What the same weights miss in each type. */
function measureTypes(
  factory: KernelFactory,
  samples: LayerSamples,
  trained: TrainedLayer,
  dtypes: readonly PredictorDType[],
  { downNorms, namedPerActive = DEFAULT_NAMED_PER_ACTIVE }: Omit<LayerProbeOptions, "ranks" | "dtypes">,
): ProbePoint["missedMass"] {
  const missed = dtypes.map((dtype) => {
    const stored = storeWeights({ ...trained, dtype }, trained.weights);
    const curve = new CurveMeter(factory, samples, downNorms, stored, PROBE_HELD_OUT_TOKENS).measure(stored);
    return [dtype, missedMassAt(curve, namedPerActive)] as const;
  });
  return Object.fromEntries(missed);
}
