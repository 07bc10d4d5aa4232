/**
 * What each layer's predictor may weigh: its rank, and the type of its weights. The paper gives its last four layers eight times the rank of the
 * others, by hand, and stores as the model is stored. Here a short probe of each layer at two ranks says how fast rank lowers its missed output mass,
 * and what rounding to each type adds; a budget of bytes for the whole model is spent where a byte gains most.
 */
import { InputError } from "@flashwick/core";
import { fitsPredictorDType, type PredictorDType, predictorMatrixBytes } from "../predictor-matrix.js";

/** What a short training at one rank came to. */
export interface ProbePoint {
  readonly rank: number;
  /** Share of the layer's output mass that is missed at the probe's named ÷ active, with the weights rounded to each type. */
  readonly missedMass: Readonly<Partial<Record<PredictorDType, number>>>;
}

/** One layer's probe; plain data. */
export interface SizeProbe {
  readonly layer: number;
  /** Ascending ranks, at least two. */
  readonly points: readonly ProbePoint[];
  /** Output mass of the layer's active neurons per token: what one share of missed mass costs the model. */
  readonly massPerToken: number;
}

/** Rank and type of one layer's predictor. */
export interface PredictorSize {
  readonly rank: number;
  /** Of W1 and W2. */
  readonly dtype: PredictorDType;
}

/** What predictors may take, and of which widths they are. */
export interface SizeBudget {
  readonly dModel: number;
  readonly dFf: number;
  /** Bytes of the predictors of all layers that are planned. */
  readonly maxBytes: number;
  /** Types to choose from. Default {@link PLANNED_DTYPES}. Those whose blocks do not fit dModel are left out. */
  readonly dtypes?: readonly PredictorDType[];
  /** Ranks to choose from, ascending. Default: ten from dModel/32 to dModel/2. */
  readonly ladder?: readonly number[];
}

/** Types that are chosen from: of those that multiply integers, the most exact one and the lightest one. */
export const PLANNED_DTYPES: readonly PredictorDType[] = ["int8", "q4_0"];

/** Bytes of all predictors over the model's in f16, unless told otherwise. The paper's OPT predictors have 2.4 % of its weights, in its own type. */
export const DEFAULT_PREDICTOR_SHARE = 0.03;

/** Ranks from dModel/32 (the paper's 128 for OPT 6.7B) to dModel/2, multiples of 8, and of 32 where that is no coarser than the steps. */
export function rankLadder(dModel: number): number[] {
  const steps = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16];
  const unit = dModel >= 1024 ? 32 : 8;
  const ranks = steps.map((step) => Math.max(unit, unit * Math.round((step * dModel) / (32 * unit))));
  return [...new Set(ranks)];
}

/** Bytes of a layer's predictor of this size. */
export function predictorSizeBytes({ rank, dtype }: PredictorSize, dModel: number, dFf: number): number {
  return (
    predictorMatrixBytes({ dtype, rows: rank, cols: dModel }) + predictorMatrixBytes({ dtype, rows: dFf, cols: rank })
  );
}

/** Whether both matrices of this size are whole rows of their type. */
export function isStorable({ rank, dtype }: PredictorSize, dModel: number): boolean {
  return fitsPredictorDType(dtype, dModel) && fitsPredictorDType(dtype, rank);
}

/**
 * The ranks that a probe trains, and the types that it looks at: two rungs that every type can be stored at, below and above what the budget gives on
 * average in the lightest type. A type of which the ladder has no two rungs is left out.
 *
 * @throws {InputError} `INPUT_INVALID` if that leaves no type.
 */
export function planProbe(
  nLayers: number,
  budget: SizeBudget,
): { readonly ranks: readonly [number, number]; readonly dtypes: readonly PredictorDType[] } {
  const { dModel, dFf, maxBytes, ladder = rankLadder(budget.dModel) } = budget;
  const dtypes = typesOf(budget);
  const rungs = ladder.filter((rank) => dtypes.every((dtype) => isStorable({ rank, dtype }, dModel)));
  const mean = maxBytes / nLayers;
  const bytes = rungs.map((rank) =>
    Math.min(...dtypes.map((dtype) => predictorSizeBytes({ rank, dtype }, dModel, dFf))),
  );
  const below = bytes.findLastIndex((of) => of <= 0.8 * mean);
  const low = Math.max(0, Math.min(below, rungs.length - 2));
  const above = bytes.findIndex((of) => of >= 1.15 * mean);
  const high = above < 0 ? rungs.length - 1 : Math.max(above, low + 1);
  return { ranks: [rungs[low]!, rungs[high]!], dtypes };
}

/** Types that at least two rungs of the ladder can be stored in. */
function typesOf({ dModel, dtypes = PLANNED_DTYPES, ladder = rankLadder(dModel) }: SizeBudget): PredictorDType[] {
  const fitting = dtypes.filter((dtype) => ladder.filter((rank) => isStorable({ rank, dtype }, dModel)).length >= 2);
  if (fitting.length > 0) return fitting;
  throw new InputError(
    "INPUT_INVALID",
    `rank auto: found a dModel of ${dModel} and ranks of ${ladder.join(", ")}, expected multiples of 32, of ranks at least two, for ${dtypes.join(", ")}; ` +
      "store int8, or give a fixed rank",
    { details: { dModel, ladder, dtypes } },
  );
}

/** A size that a layer may take, and what it is expected to miss. */
interface Option extends PredictorSize {
  readonly bytes: number;
  /** Output mass a token. */
  readonly missed: number;
}

/**
 * Rank and type of each layer, in the order of the probes.
 *
 * Missed mass is taken to fall exponentially with rank, in each type at the pace that the probe saw. All layers begin with their lightest size; then,
 * as long as the budget lasts, the step that gains most for its bytes is taken, to any larger size of any layer.
 *
 * @throws {InputError} `INPUT_INVALID` if the lightest size everywhere exceeds the budget.
 */
export function planSizes(probes: readonly SizeProbe[], budget: SizeBudget): PredictorSize[] {
  const options = probes.map((probe) => optionsOf(probe, budget));
  const chosen = options.map(lightest);
  let left = budget.maxBytes - chosen.reduce((sum, { bytes }) => sum + bytes, 0);
  if (left < 0) throw tooSmall(budget.maxBytes, budget.maxBytes - left, chosen);
  for (;;) {
    const step = steepestStep(options, chosen, left);
    if (step === null) return chosen.map(({ rank, dtype }) => ({ rank, dtype }));
    left -= step.to.bytes - chosen[step.layer]!.bytes;
    chosen[step.layer] = step.to;
  }
}

function optionsOf(probe: SizeProbe, budget: SizeBudget): Option[] {
  const { dModel, dFf, ladder = rankLadder(budget.dModel) } = budget;
  const sizes = typesOf(budget).flatMap((dtype) => ladder.map((rank) => ({ rank, dtype })));
  return sizes
    .filter((size) => isStorable(size, dModel))
    .map((size) => ({
      ...size,
      bytes: predictorSizeBytes(size, dModel, dFf),
      missed: probe.massPerToken * expectedMiss(probe, size),
    }));
}

function lightest(options: readonly Option[]): Option {
  return options.reduce((best, option) => (option.bytes < best.bytes ? option : best));
}

/** The step that saves most mass for its bytes and is still affordable, or null. */
function steepestStep(
  options: readonly (readonly Option[])[],
  chosen: readonly Option[],
  left: number,
): { readonly layer: number; readonly to: Option } | null {
  let best: { layer: number; to: Option } | null = null;
  let bestGain = 0;
  for (const [layer, of] of options.entries()) {
    const now = chosen[layer]!;
    for (const to of of) {
      const more = to.bytes - now.bytes;
      if (more <= 0 || more > left) continue;
      const gain = (now.missed - to.missed) / more;
      if (gain > bestGain) [best, bestGain] = [{ layer, to }, gain];
    }
  }
  return best;
}

/** Missed mass at a size: exponential in rank through the first and the last point of its type. */
export function expectedMiss({ points }: SizeProbe, { rank, dtype }: PredictorSize): number {
  const [first, last] = [points[0]!, points.at(-1)!];
  const [from, to] = [first.missedMass[dtype]!, last.missedMass[dtype]!];
  if (from === 0) return 0;
  // A probe too short to see a gain still must not see a loss: then the layer gains a little, last of all.
  const ratio = Math.min(0.98, Math.max(1e-4, to / from));
  return from * ratio ** ((rank - first.rank) / (last.rank - first.rank));
}

function tooSmall(maxBytes: number, smallestBytes: number, { length, 0: first }: readonly PredictorSize[]): InputError {
  return new InputError(
    "INPUT_INVALID",
    `rank auto: rank ${first!.rank} in ${first!.dtype} in each of ${length} layers takes ${smallestBytes} bytes, ` +
      `more than the ${Math.floor(maxBytes)} allowed; give a fixed rank or allow more`,
    { details: { maxBytes, smallestBytes } },
  );
}
