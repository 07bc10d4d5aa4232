/** Shares of each layer's inputs and neurons, for a stated KL from the dense model on a text. */
import { InputError } from "@flashwick/core";
import type { Model } from "../model.js";
import { type EvaluatePruningOptions, evaluatePruning, readUnitNorms } from "./evaluate-pruning.js";
import type { Stage } from "./planned-pruner.js";
import { type LayerPruning, type PruningMethod, type PruningPlan, topShare } from "./pruning-plan.js";
import { type StageSensitivity, searchWorth, shareAt } from "./share-search.js";
import { unitBytes } from "./unit-bytes.js";

/** What is calibrated, and on how much of the text. */
export interface CalibrateSharesOptions extends Pick<EvaluatePruningOptions, "onProgress" | "signal" | "windowTokens"> {
  readonly method: Exclude<PruningMethod, "cats" | "teal">;
  /** KL(dense ‖ pruned) that the text may have at most, nat a token. */
  readonly targetKl: number;
  /** Where the text comes from, for people. */
  readonly source: string;
  /** Windows on which each stage is probed by itself; default 1. */
  readonly probeWindows?: number;
  /** Windows on which whole plans are judged; default 4. */
  readonly judgeWindows?: number;
}

/** Shares that each stage is probed at, by itself. */
const PROBES = { inputs: [0.7, 0.45], outputs: [0.55, 0.3] } as const;
const STAGES: readonly Stage[] = ["inputs", "outputs"];
/** λ is searched over six powers of ten around the bytes of a layer's FFN a millinat, to 3 %. */
const WORTH = { perLayerBytes: 1000, reach: 1000, precision: 1.03 };
/** Below this a probe's KL is rounding. */
const LEAST_KL = 1e-9;

/**
 * Probes how much each stage of each layer loses by itself, and searches the plan of the fewest bytes that loses no more than `targetKl` in all.
 *
 * @throws {InputError} `INPUT_INVALID` where no plan that leaves anything out is that close. As `evaluatePruning`.
 * Cost: four passes over the probe windows for each layer, and about twenty over those that judge.
 */
export async function calibrateShares(
  model: Model,
  text: string,
  options: CalibrateSharesOptions,
): Promise<PruningPlan> {
  const { method, targetKl, source, judgeWindows = 4, windowTokens, signal } = options;
  const norms = await readUnitNorms(model, signal);
  const sensitivities = await probe(model, text, { ...options, norms });
  const planAt = (bytesPerNat: number): PruningPlan => ({
    schemaVersion: 1,
    method,
    source: `${source}: KL at most ${targetKl}`,
    layers: sensitivities.map((stages) => rulesAt(stages, bytesPerNat)),
  });
  const measure = async (bytesPerNat: number) => {
    const judged = { windowTokens, maxWindows: judgeWindows, norms, signal };
    const [result] = await evaluatePruning(model, text, [{ plan: planAt(bytesPerNat) }], judged);
    return result!.against.meanKl;
  };
  const middle = WORTH.perLayerBytes * unitBytes(model.header, method)[0]!.dense;
  const range = { least: middle / WORTH.reach, most: middle * WORTH.reach, precision: WORTH.precision };
  const found = await searchWorth(measure, targetKl, range);
  if (found === null) {
    throw new InputError("INPUT_INVALID", `${source}: no ${method} plan has a KL of at most ${targetKl}; allow more`);
  }
  return planAt(found);
}

type LayerSensitivity = Readonly<Partial<Record<Stage, StageSensitivity>>>;

async function probe(
  model: Model,
  text: string,
  { method, probeWindows = 1, ...options }: CalibrateSharesOptions & Pick<EvaluatePruningOptions, "norms">,
): Promise<LayerSensitivity[]> {
  const { layers } = model.header.geometry;
  const bytes = unitBytes(model.header, method);
  const probes = layers.flatMap((_, layer) =>
    STAGES.filter((stage) => bytes[layer]![stage] > 0).flatMap((stage) =>
      PROBES[stage].map((share) => ({ layer, stage, share })),
    ),
  );
  const runs = probes.map(({ layer, stage, share }) => ({
    plan: onePruned(method, layers.length, layer, stage, share),
  }));
  const results = await evaluatePruning(model, text, runs, { ...options, maxWindows: probeWindows });
  const points = probes.map((of, i) => ({ ...of, kl: Math.max(LEAST_KL, results[i]!.against.meanKl) }));
  return layers.map(({ ffn }, layer) => {
    const units = { inputs: model.header.geometry.dModel, outputs: ffn.dFf };
    const own = points.filter((point) => point.layer === layer);
    return Object.fromEntries(
      STAGES.filter((stage) => bytes[layer]![stage] > 0).map((stage) => {
        const [one, other] = own.filter((point) => point.stage === stage);
        return [stage, { probes: [one!, other!], bytes: bytes[layer]![stage] * units[stage] }];
      }),
    );
  });
}

/** A plan that prunes one stage of one layer. */
function onePruned(method: PruningMethod, nLayers: number, layer: number, stage: Stage, share: number): PruningPlan {
  const all = { inputs: { rule: "all" }, outputs: { rule: "all" } } as const;
  const layers = Array.from({ length: nLayers }, (_, l) => (l === layer ? { ...all, [stage]: topShare(share) } : all));
  return { schemaVersion: 1, method, source: "a probe", layers };
}

function rulesAt(stages: LayerSensitivity, bytesPerNat: number): LayerPruning {
  const rule = (of: StageSensitivity | undefined) =>
    of ? topShare(shareAt(of, bytesPerNat)) : ({ rule: "all" } as const);
  return { inputs: rule(stages.inputs), outputs: rule(stages.outputs) };
}
