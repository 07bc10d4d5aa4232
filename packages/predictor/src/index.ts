export {
  type NamingScratch,
  nameNeurons,
  nameNeuronsOfBatch,
  namingScratchBytes,
  scoreNeurons,
} from "./neuron-naming.js";
export { type PlacedPredictor, placedPredictorBytes, placePredictor, predictorBytes } from "./placed-predictor.js";
export { checkPredictor, type PredictedModel } from "./predictor-check.js";
export {
  checkPredictorMatrix,
  dequantisePredictorMatrix,
  fitsPredictorDType,
  PREDICTOR_DTYPES,
  type PredictorDType,
  predictorMatrixBytes,
  quantisePredictorMatrix,
} from "./predictor-matrix.js";
export { type PrunedModel, prunePredictor, requirePredictorOf } from "./prune-predictor.js";
export { reorderPredictor } from "./reorder-predictor.js";
export { SparsityTally } from "./sparsity-tally.js";
