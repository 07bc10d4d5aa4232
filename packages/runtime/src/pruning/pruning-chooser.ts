/** A pruner as the chooser of a step. */
import type { Choice, Chooser } from "../chooser.js";
import type { FfnPruner } from "./ffn-pruner.js";

export class PruningChooser implements Chooser {
  /** What is left out mattered, if only a little. */
  readonly exact = false;

  constructor(readonly pruner: FfnPruner) {}

  /** Not asked: the pruner is. */
  choose(): Choice {
    return "all";
  }
}
