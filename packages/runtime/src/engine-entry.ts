/**
 * The inside of a model, as `@flashwick/runtime/engine`, for studies and tools that step by hand. **Nothing here is promised**: names and behaviour change in
 * any release, and what is called in the wrong order, or with a set that changes too early, gives wrong numbers rather than an error.
 */
export { ALL_NEURONS, type Choice, type Chooser, type ChooserLayer } from "./chooser.js";
export { windowLogitBytes } from "./compared-run.js";
export { Engine } from "./engine.js";
export type { EngineParts } from "./engine-parts.js";
export type { StepOptions, StepRow, StepSequence } from "./engine-step.js";
export { PlainDecoder, type TokenDecoder } from "./generation.js";
export { type CalibrateSharesOptions, calibrateShares } from "./pruning/calibrate-shares.js";
export {
  type LayerMagnitudes,
  type MagnitudeOptions,
  recordMagnitudes,
  thresholdPlan,
} from "./pruning/calibrate-thresholds.js";
export type { ChosenUnits } from "./pruning/chosen-units.js";
export {
  type EvaluatePruningOptions,
  evaluatePruning,
  type PruningResult,
  readUnitNorms,
} from "./pruning/evaluate-pruning.js";
export type { FfnPruner } from "./pruning/ffn-pruner.js";
export {
  type HeldOfStage,
  type HeldUnits,
  PlannedPruner,
  type PrunerOptions,
  type Stage,
  type UnitNorms,
} from "./pruning/planned-pruner.js";
export { PruningChooser } from "./pruning/pruning-chooser.js";
export {
  dipShares,
  type LayerPruning,
  PRUNING_METHODS,
  type PruningMethod,
  type PruningPlan,
  type PruningRule,
  parsePruningPlan,
  topShare,
  uniformPlan,
} from "./pruning/pruning-plan.js";
export type { CacheResult, PrunedReads, PruningRun } from "./pruning/pruning-tally.js";
export { type UnitBytes, unitBytes } from "./pruning/unit-bytes.js";
export {
  type DecodedStep,
  SpeculativeDecoder,
  type SpeculativeDecoderParts,
} from "./speculation/speculative-decoder.js";
export { type SelectorOptions, TokenSelector } from "./token-selector.js";
