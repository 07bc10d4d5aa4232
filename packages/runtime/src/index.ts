export { POLICIES } from "./cache-policy.js";
export {
  type ChoosePlacementOptions,
  choosePlacement,
  PLACEMENT_ORDERS,
  type PlacementChoice,
  type PlacementOrder,
} from "./choose-placement.js";
export { deviceCompute } from "./device-compute.js";
export { Engine, type ForwardObserver, type ForwardOptions } from "./engine.js";
export type { EngineParts, NeuronMode } from "./engine-parts.js";
export { type EstimateOptions, estimate, type PredictorShapes, shapeOf } from "./estimate.js";
export { cutWindows, type EvaluateOptions, type EvaluateResult, evaluateText } from "./evaluate.js";
export { type MeasureSparsityOptions, measureSparsity } from "./measure-sparsity.js";
export {
  type FinishReason,
  type GeneratedToken,
  type GenerateOptions,
  Model,
  type ModelOptions,
  type ModelParts,
  type RunSummary,
} from "./model.js";
export { type RecordedTrace, type RecordTraceOptions, recordTrace } from "./record-trace.js";
export type { RecordedSets, ReplayedRun } from "./replayed-run.js";
export { type RunFacts, summarizeRun } from "./run-summary.js";
export { createSampler, type Sampler, type SamplingOptions } from "./sampler.js";
export { type ScoredPosition, type ScoreOptions, scoreTokens } from "./score.js";
export { Session } from "./session.js";
export {
  type SimulatedTrace,
  type SimulateTraceOptions,
  STUDY_POLICIES,
  type StudyPolicy,
  simulateTrace,
} from "./simulate-trace.js";
export { type ChoiceTask, evaluateTasks, parseTasks, type TasksResult } from "./tasks.js";
export { TextStream } from "./text-stream.js";
export { createTextTokenizer, type TextTokenizer } from "./text-tokenizer.js";
export type { TokenSpan } from "./token-meter.js";
