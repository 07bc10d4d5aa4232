export { type CheckpointConfig, parseCheckpointConfig, readCheckpointConfig } from "./checkpoint-config.js";
export { type CheckpointFolder, memoryFolder } from "./checkpoint-folder.js";
export {
  type ConversionResult,
  type ConvertOptions,
  type CreateWriter,
  convertCheckpoint,
} from "./convert-checkpoint.js";
export type { CheckpointFamily, RowRange, WeightSource } from "./families/family.js";
export { readTensorFile, type TensorFile } from "./tensor-file.js";
