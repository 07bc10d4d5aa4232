export {
  assemblePredictor,
  type CalibrateOptions,
  type CalibrationResult,
  type CalibrationStep,
  type CalibrationTarget,
  calibratePredictor,
  type MeasuredCandidates,
  measureCandidates,
} from "./calibrate-predictor.js";
export { exportPredictor } from "./export-predictor.js";
export { type ImportPredictorOptions, importPredictor, type PredictorWeightFile } from "./import-predictor.js";
export { mergePredictors } from "./merge-predictors.js";
export { type OpenedForTraining, openTrainingModel } from "./open-training-model.js";
export { type MarkedDocument, recordActivations } from "./record-activations.js";
export {
  f16Bytes,
  type TrainPredictorsOptions,
  type TrainPredictorsResult,
  trainPredictors,
} from "./train-predictors.js";
export { cutDocuments, type TrainingDocument } from "./training-text.js";
