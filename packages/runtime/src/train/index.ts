export { type MarkedDocument, recordActivations } from "./record-activations.js";
export {
  countParameters,
  type TrainPredictorsOptions,
  type TrainPredictorsResult,
  trainPredictors,
} from "./train-predictors.js";
export { cutDocuments, type TrainingDocument } from "./training-text.js";
