export { BatchRecorder, recorderBytes } from "./batch-recorder.js";
export {
  accumulateCurve,
  type CalibrationCurve,
  missedMassAt,
  qualityAt,
  recallAt,
  thresholdOfBin,
} from "./calibration-curve.js";
export { type Candidate, type CandidateBudget, type CandidateChoice, chooseCandidates } from "./candidate-choice.js";
export { CurveMeter } from "./curve-meter.js";
export { HELD_OUT_PERIOD, isHeldOut } from "./document-split.js";
export { type FinishOptions, finishPredictors } from "./finish-predictors.js";
export { joinSamples } from "./joined-samples.js";
export { type LayerProbeOptions, probeLayer } from "./layer-probe.js";
export {
  autoLearningRate,
  DEFAULT_TRAINER_SETTINGS,
  LayerTrainer,
  type PredictorWeights,
  type TrainerSettings,
  type TrainerState,
  trainerBytes,
} from "./layer-trainer.js";
export { type LearningRateSchedule, learningRate } from "./learning-rate.js";
export { type MemoryLayerData, MemorySampleStore, openMemorySamples } from "./memory-sample-store.js";
export {
  DEFAULT_PREDICTOR_SHARE,
  planRanks,
  probeRanks,
  type RankBudget,
  type RankProbe,
  rankLadder,
} from "./rank-plan.js";
export { planSampleLayout, type SampleLayout } from "./sample-layout.js";
export type { UncalibratedLayer } from "./sample-scorer.js";
export type {
  LayerSampleCounts,
  LayerSamples,
  SampleBatch,
  SampleShape,
  SampleSink,
  SampleStore,
} from "./sample-store.js";
export { type PredictorToMeasure, StreamedCurves, streamedCurvesBytes } from "./streamed-curves.js";
export { chooseThresholdBins } from "./threshold-choice.js";
export {
  DEFAULT_NAMED_PER_ACTIVE,
  type EpochReport,
  type LayerTrainingOptions,
  type LayerTrainingState,
  layerTrainingBytes,
  type TrainedLayer,
  trainLayer,
} from "./train-layer.js";
