/** Whether the caches of a plan hold what one token uses: below that hardly anything hits, which is known before anything is read. Pure. */
import { hasExperts, unitGrid, unitsByLayer } from "@flashwick/core";
import type { MemoryPlan } from "@flashwick/cost-model";
import { type TokenFit, tokenFit } from "@flashwick/dram-cache";
import type { ModelHeader } from "@flashwick/flash-format";
import { cachePolicy } from "./cache-policy.js";
import type { EngineConfig } from "./engine-config.js";

/** Whether the caches hold what one token uses. */
export interface CacheFit {
  readonly units: "neurons" | "experts";
  /** False: a token pushes out its own units before the next one wants them again. */
  readonly fits: boolean;
  readonly budgetBytes: number;
  /** From this budget on they fit. */
  readonly neededBudgetBytes: number;
}

/** @returns Null for dense runs of one FFN a layer, which keep whole layers instead of what a token names. */
export function cacheFit(
  plan: MemoryPlan,
  { geometry }: Pick<ModelHeader, "geometry">,
  config: Pick<EngineConfig, "policy" | "cacheScope" | "expertsPerToken">,
): CacheFit | null {
  const { dram, cycleBudgetBytes } = plan;
  if (cycleBudgetBytes === null) return null;
  const sizes = { budgetBytes: dram.budget, neededBudgetBytes: cycleBudgetBytes };
  if (!hasExperts(geometry)) return { units: "neurons", fits: dram.budget >= cycleBudgetBytes, ...sizes };
  return { units: "experts", fits: expertFits(plan, geometry, config).every(({ fits }) => fits), ...sizes };
}

/** Of each layer's cache, or of the pool. */
function expertFits(
  { slotsByLayer }: MemoryPlan,
  geometry: ModelHeader["geometry"],
  config: Pick<EngineConfig, "policy" | "cacheScope" | "expertsPerToken">,
): TokenFit[] {
  const policy = cachePolicy(config.policy, unitGrid(geometry).dFf);
  const mixtures = unitsByLayer(geometry).flatMap((units, layer) => (units > 0 ? [layer] : []));
  const most = config.expertsPerToken ?? Number.POSITIVE_INFINITY;
  const chosen = (layer: number) => Math.min(most, geometry.layers[layer]!.experts!.chosen);
  if (config.cacheScope === "layer") {
    return mixtures.map((layer) => tokenFit({ topK: chosen(layer), nLayers: 1, slots: slotsByLayer[layer]!, policy }));
  }
  const slots = mixtures.reduce((sum, layer) => sum + slotsByLayer[layer]!, 0);
  return [tokenFit({ topK: Math.max(...mixtures.map(chosen)), nLayers: mixtures.length, slots, policy })];
}
