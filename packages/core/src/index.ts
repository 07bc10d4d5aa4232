export {
  ACTIVATIONS,
  type Activation,
  type ActivationFunction,
  activationFunction,
  assertActivation,
  isActive,
  leavesZeros,
  needsGate,
  SWIGLU_ALPHA,
  SWIGLU_LIMIT,
} from "./activation.js";
export { assert } from "./assert.js";
export { type DramAccount, type DramBytes, formatBytes, GiB, KiB, MiB, totalDramBytes } from "./budget.js";
export { type ByteSink, type ByteSource, memorySource, type SourcePart, truncatedError } from "./byte-source.js";
export {
  BLOCK_DTYPES,
  type BlockDType,
  blockBytes,
  blockElements,
  blocksOf,
  CONVERT_DTYPES,
  type ConvertDType,
  DTYPES,
  type DType,
  defaultResidentDType,
  isBlockDType,
  isDType,
  isPlainDType,
  isRecordDType,
  MAX_INT8_COLS,
  PLAIN_DTYPES,
  type PlainDType,
  RECORD_DTYPES,
  RESIDENT_DTYPES,
  type RecordDType,
  type ResidentDType,
  rowBytes,
} from "./dtype.js";
export {
  BudgetError,
  DeviceLostError,
  DisposedError,
  type ErrorCode,
  type ErrorOptions,
  FlashwickError,
  FormatError,
  InputError,
  IntegrityError,
  IoError,
  isFlashwickError,
  UnsupportedError,
} from "./errors.js";
export { eventLoopTurn } from "./event-loop.js";
export { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from "./float16.js";
export {
  type Architecture,
  type AttentionGeometry,
  activationOf,
  attentionBiases,
  type ExpertLayout,
  type ExpertsGeometry,
  equalLayers,
  type FfnGeometry,
  type FfnLayout,
  ffnBytes,
  hasExperts,
  hasSameForm,
  isGated,
  isSparse,
  kvWidth,
  type LayerGeometry,
  type LayerNorms,
  type MatrixLayout,
  type ModelGeometry,
  type NeuronGrid,
  type NormGeometry,
  neuronBiases,
  neuronCount,
  neuronGrid,
  normsAround,
  normsBefore,
  paddedLength,
  queryWidth,
  type RecordPart,
  type RecordRole,
  type RotaryGeometry,
  type RotaryScaling,
  recordPart,
  unitGrid,
  unitName,
  unitsByLayer,
  type WeightLayout,
  widestFfn,
} from "./geometry.js";
export { joinedSource, partAt, partBegins, sourcePlace } from "./joined-source.js";
export { KV_PAGE_TOKENS, kvPartBytes } from "./kv-page.js";
export type {
  Predictor,
  PredictorLayer,
  PredictorLayerShape,
  PredictorMatrix,
  PredictorMatrixShape,
  PredictorQuality,
  PredictorSource,
} from "./predictor.js";
export type { OnProgress, Progress } from "./progress.js";
export { Random } from "./random.js";
export { showValue } from "./shown-value.js";
export { findSparsityFault, type LayerSparsity, type SparsityFault, type SparsityStatistics } from "./sparsity.js";
export type {
  LeftMs,
  PhaseMs,
  PredictedRun,
  RunLimit,
  RunStats,
  SpeculationStats,
  TokenStats,
} from "./stats.js";
