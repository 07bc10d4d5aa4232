/** A pruner as the chooser of a step. */
import type { Choice, Chooser } from "../chooser.js";
import type { PlannedPruning } from "../engine-config.js";
import type { EngineLayer } from "../engine-layer.js";
import type { FfnPruner } from "./ffn-pruner.js";
import { type HeldUnits, PlannedPruner, type UnitNorms } from "./planned-pruner.js";

export class PruningChooser implements Chooser {
  /** What is left out mattered, if only a little. */
  readonly exact = false;

  constructor(readonly pruner: FfnPruner) {}

  /** Not asked: the pruner is. */
  choose(): Choice {
    return "all";
  }
}

/**
 * The chooser of an engine with a pruning plan, which prefers what the engine's own caches hold where γ is below 1.
 *
 * @param norms Of units, if the plan weighs by them.
 */
export function prunedChooser(
  { plan, gamma }: PlannedPruning,
  layers: readonly EngineLayer[],
  norms: readonly UnitNorms[] | null,
): PruningChooser {
  const caches = heldUnits(layers);
  return new PruningChooser(new PlannedPruner(plan, { norms: norms ?? undefined, gamma, caches }));
}

/** What the caches of layers that are read by columns hold. */
function heldUnits(layers: readonly EngineLayer[]): HeldUnits {
  const holds = (index: 0 | 1) => (layer: number, unit: number) => {
    const of = layers[layer]!;
    return of.storage === "columns" && of.ffn.caches[index].slotOf(unit) >= 0;
  };
  return { inputs: { holds: holds(0) }, outputs: { holds: holds(1) } };
}
