export { type CheckpointFolder, memoryFolder } from "./checkpoint-folder.js";
export {
  type ConversionResult,
  type ConvertOptions,
  type CreateWriter,
  convertCheckpoint,
} from "./convert-checkpoint.js";
