export { crc32c } from "./crc32c.js";
export { type MemorySink, memoryJournal, memorySink } from "./memory-sink.js";
export type { ModelFile, ModelHeader, RecordTensor, ResidentTensor, TensorRole } from "./model-file.js";
export type { ModelSpec, ModelWriter, ModelWriterOptions, TensorShape, WriteJournal } from "./model-writer.js";
export { openModelFile, readRecordChecksums, readResidentTensor } from "./read-model.js";
export { weightLayout } from "./record-layout.js";
export { residentTensorsOf } from "./resident-tensors.js";
export { createModelWriter } from "./write-model.js";
