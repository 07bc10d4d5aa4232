export { BatchRecorder, recorderBytes } from "./batch-recorder.js";
export { type CalibrationCurve, qualityAt } from "./calibration-curve.js";
export { type Candidate, type CandidateBudget, type CandidateChoice, chooseCandidates } from "./candidate-choice.js";
export { isHeldOut } from "./document-split.js";
export { type FinishOptions, finishPredictors } from "./finish-predictors.js";
export { joinSamples } from "./joined-samples.js";
export { type LayerProbeOptions, probeLayer } from "./layer-probe.js";
export type { PredictorWeights, TrainerSettings, TrainerState } from "./layer-trainer.js";
export type { LearningRateSchedule } from "./learning-rate.js";
export { type MemoryLayerData, MemorySampleStore, openMemorySamples } from "./memory-sample-store.js";
export type { UncalibratedLayer } from "./sample-scorer.js";
export type {
  LayerSampleCounts,
  LayerSamples,
  SampleBatch,
  SampleShape,
  SampleSink,
  SampleStore,
} from "./sample-store.js";
export {
  DEFAULT_PREDICTOR_SHARE,
  isStorable,
  PLANNED_DTYPES,
  type PredictorSize,
  type ProbePoint,
  planProbe,
  planSizes,
  predictorSizeBytes,
  type SizeBudget,
  type SizeProbe,
} from "./size-plan.js";
export { type PredictorToMeasure, StreamedCurves, streamedCurvesBytes } from "./streamed-curves.js";
export {
  type EpochReport,
  type LayerTrainingOptions,
  type LayerTrainingState,
  layerTrainingBytes,
  type TrainedLayer,
  trainLayer,
} from "./train-layer.js";
