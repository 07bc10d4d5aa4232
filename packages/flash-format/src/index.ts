export {
  type ChecksumFile,
  type ChecksumHeader,
  type ChecksumOptions,
  checksumPath,
  readChecksumHeader,
  withChecksums,
  withChecksumsBeside,
  writeChecksumFile,
} from "./checksum-file.js";
export { type ColumnShape, columnBytes, columnCount, columnLayout, columnShape } from "./column-layout.js";
export { ALIGNMENT_BYTES, type ContainerKind, readFileKind, readGgufHeader } from "./container.js";
export { crc32c } from "./crc32c.js";
export { crc32cJoin } from "./crc32c-join.js";
export { expertDTypesOf } from "./expert-record.js";
export { type ExpertPiece, type ExpertSlot, planExpertSlot } from "./expert-slot.js";
export { sha256Hex } from "./fingerprint.js";
export type { GgufArray, GgufHeader, GgufTensor, GgufValue } from "./gguf.js";
export { type DecodedGgufHeader, decodeGgufHeader, HeaderCutShort } from "./gguf-decoder.js";
export { type EncodedGgufHeader, encodeGgufHeader } from "./gguf-encoder.js";
export { GgufMetadata, type MetadataAdvice, type MetadataValues } from "./gguf-metadata.js";
export { type MemorySink, memoryJournal, memorySink } from "./memory-sink.js";
export {
  type ByMatrix,
  bytesOfExpert,
  type ColumnTensor,
  type ColumnTensors,
  carriesChecksums,
  columnsOf,
  type ExpertMatrix,
  type ExpertTensors,
  expertBytes,
  expertCrc,
  layerTensors,
  MATRIX_NAMES,
  type MatrixName,
  type MatrixTensors,
  type ModelChecksums,
  type ModelFile,
  type ModelHeader,
  mapMatrices,
  matricesInOrder,
  type Pruning,
  type RecordTensor,
  type ResidentTensor,
  recordLayout,
  type TensorRole,
} from "./model-file.js";
export type {
  CalibrationSpec,
  ColumnRows,
  ModelSpec,
  ModelWriter,
  ModelWriterOptions,
  NeuronRows,
  PruningSpec,
  RoundedBlocks,
  TensorShape,
  WriteJournal,
} from "./model-writer.js";
export {
  type LayerMoments,
  type MomentsHeader,
  type MomentsSource,
  momentsBytes,
  openMomentsFile,
  readMomentsHeader,
  triangleLength,
  writeMomentsFile,
} from "./moments-file.js";
export { type PlannedForm, planHeader } from "./planned-header.js";
export {
  openPredictorFile,
  type PredictorHeader,
  readPredictorFile,
  readPredictorHeader,
  sidecarPath,
  writePredictorFile,
} from "./predictor-file.js";
export { prunedShare } from "./pruning.js";
export type { LossRole, QuantisationLoss, SquareSums } from "./quantisation-loss.js";
export {
  openModelFile,
  readColumnChecksums,
  readExpertChecksums,
  readRecordChecksums,
  readResidentTensor,
} from "./read-model.js";
export { type RecordShape, recordShape, weightLayout } from "./record-layout.js";
export { gateName, LAYER_NORM_NAMES, residentTensorsOf } from "./resident-tensors.js";
export { RowEncoder, type UnstorableValue } from "./row-encoder.js";
export { type ModelFileSummary, summariseModelFile, type TensorSummary } from "./summary.js";
export { checksOf, crcOfBytes, damagedTensor, type PieceCrc, type TensorChecks } from "./tensor-checks.js";
export {
  type BadBytes,
  type VerifyOptions,
  type VerifyResult,
  verifyChecksumFile,
  verifyModelFile,
  verifyMomentsFile,
  verifyPredictorFile,
} from "./verify.js";
export { decodeNeurons, decodeRows } from "./weight-decoder.js";
export { createModelWriter } from "./write-model.js";
