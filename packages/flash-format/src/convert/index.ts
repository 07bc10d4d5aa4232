export { type CheckpointConfig, parseCheckpointConfig, readCheckpointConfig } from "./checkpoint-config.js";
export { type CheckpointFolder, memoryFolder } from "./checkpoint-folder.js";
export type { ConvertOptions, CreateWriter } from "./conversion.js";
export type { ConversionResult } from "./conversion-result.js";
export { convertCheckpoint } from "./convert-checkpoint.js";
export { convertGguf } from "./convert-gguf.js";
export type { CheckpointFamily, RowRange, WeightSource } from "./families/family.js";
export type { NeuronPruning } from "./neuron-pruning.js";
export { readTensorFile, type TensorFile } from "./tensor-file.js";
