export type { CacheFit } from "./cache-fit.js";
export { EXPERT_POLICY, POLICIES } from "./cache-policy.js";
export {
  type ChatMessage,
  ChatTemplate,
  type ChatTemplateOptions,
  type RenderOptions,
  readChatTemplate,
} from "./chat/chat-template.js";
export {
  type ChoosePlacementOptions,
  choosePlacement,
  PLACEMENT_ORDERS,
  type PlacementChoice,
  type PlacementOrder,
} from "./choose-placement.js";
export { choosePruning, prunedTrace } from "./choose-pruning.js";
export type { Comparison } from "./compared-run.js";
export type { ContextRange } from "./context-tokens.js";
export { deviceCompute } from "./device-compute.js";
export {
  CACHE_SCOPES,
  type CacheScope,
  type EngineConfig,
  type NeuronMode,
  type PlannedPruning,
} from "./engine-config.js";
export { type EstimateOptions, estimate, type PredictorShapes } from "./estimate.js";
export { cutWindows, evaluateText } from "./evaluate.js";
export type { EvaluateOptions, EvaluateResult } from "./evaluation.js";
export type { ForwardObserver, ResidentUnits } from "./forward-observer.js";
export type { GeneratedToken, TokenStep } from "./generation.js";
export type { FinishReason } from "./growing-text.js";
export { type MeasureSparsityOptions, measureSparsity } from "./measure-sparsity.js";
export { Model } from "./model.js";
export type { GenerateOptions, ModelOptions, ModelParts, PruningChoice } from "./model-options.js";
export { shapeOf } from "./model-shape.js";
export { type PolicyLocalityOptions, policyLocality } from "./policy-locality.js";
export type { LayerPruning, PruningMethod, PruningPlan, PruningRule } from "./pruning/pruning-plan.js";
export { type RecordedMoments, type RecordMomentsOptions, recordMoments } from "./record-moments.js";
export { type RecordedTrace, type RecordTraceOptions, recordTrace } from "./record-trace.js";
export type { RecordedSets, ReplayedRun } from "./replayed-run.js";
export { preferResident, type ResidentPreference } from "./resident-experts.js";
export type { FinishedRun } from "./run-limit.js";
export { hitShare, percentile, type RunFacts, summarizeRun } from "./run-summary.js";
export { createSampler, type Sampler, type SamplingOptions } from "./sampler.js";
export { type ScoredPosition, type ScoreOptions, scoreTokens } from "./score.js";
export type { ExtendOptions, Sequence } from "./sequence.js";
export type { PrefixStore } from "./serving/prefix-store.js";
export { type QueueFullDetails, QueueFullError } from "./serving/queue-full-error.js";
export type { SchedulerOptions, ServedRequest, ServedSummary, ServedToken } from "./serving/served-request.js";
export type { TextScheduler } from "./serving/text-scheduler.js";
export {
  type SimulatedTrace,
  type SimulateTraceOptions,
  STUDY_POLICIES,
  type StudyPolicy,
  simulateTrace,
  studyPolicies,
} from "./simulate-trace.js";
export type { Draft, DraftContext, Drafter } from "./speculation/drafter.js";
export { LookupDrafter } from "./speculation/lookup-drafter.js";
export { ModelDrafter } from "./speculation/model-drafter.js";
export { type ChoiceTask, evaluateTasks, parseTasks, type TasksResult } from "./tasks.js";
export type { RunSummary } from "./text-request.js";
export { TextStream } from "./text-stream.js";
export { createTextTokenizer, type DecodeOptions, type EncodeOptions, type TextTokenizer } from "./text-tokenizer.js";
export type { TokenConstraint } from "./token-constraint.js";
export type { TokenLogprob } from "./token-logprob.js";
export type { TokenSpan } from "./token-meter.js";
export { createGgufTokenizer } from "./tokenizer/gguf-tokenizer.js";
export { readTokenizer } from "./tokenizer/read-tokenizer.js";
