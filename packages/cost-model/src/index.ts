export { DEVICE_PRESETS, devicePreset } from "./device-presets.js";
export type {
  BatchRate,
  DeviceProfile,
  FlashProfile,
  KernelOp,
  KernelRate,
  ManagementProfile,
  ReadRatePoint,
  StreamProfile,
} from "./device-profile.js";
export { parseDeviceProfile, parseSparsity } from "./device-profile-document.js";
export { exposedReadMs, type OverlapShares } from "./exposed-reads.js";
export { type KvPrecision, kvCacheBytes, kvPageCount, kvTableBytes } from "./kv-bytes.js";
export { type LosslessPlan, planLossless } from "./lossless-plan.js";
export { type MemoryPlan, type MemoryRequest, MIN_SLOTS_PER_LAYER, planMemory } from "./memory-plan.js";
export {
  type MemoryWish,
  MODEL_PRESETS,
  type ModelPreset,
  modelPreset,
  type PublishedModel,
} from "./model-presets.js";
export {
  denseBytes,
  denseBytesByType,
  ffnFlashBytes,
  type ModelShape,
  type PredictorShape,
  type RowStream,
  type TypeShare,
} from "./model-shape.js";
export { type PassCost, passCost } from "./pass-cost.js";
export type { EngineMethod, EngineSettings, TokenRequest } from "./pass-request.js";
export { type Alternative, type PlanRequest, planRun, price, type RunPlan } from "./plan-run.js";
export { type PrefillCost, prefillCost } from "./prefill-cost.js";
export { batchReadMs, readBytesPerSec } from "./read-time.js";
export { type Bound, type RunCost, type RunLength, runCost } from "./run-cost.js";
export { allocateByDemand, allocateWholeLayers } from "./slot-allocation.js";
export {
  type CacheUse,
  checkSparsity,
  denseSparsity,
  heldShare,
  missShare,
  namedShare,
  powerLawLayer,
  tokensHeld,
  UNION_TOKENS,
  unionShare,
  windowExponent,
} from "./sparsity.js";
export {
  chooseDraftTokens,
  expectedTokens,
  type Speculation,
  type SpeculationRequest,
  speculationCost,
} from "./speculation-cost.js";
export { SpeculationMeter, type SpeculationPrior } from "./speculation-meter.js";
export {
  type ChunkPart,
  chunkParts,
  cutRows,
  LONGEST_CHUNK_BYTES,
  type MatrixRows,
  MOST_STREAM_READ_BYTES,
  ROWS_TAIL_BYTES,
  type RowChunk,
  SECTOR_BYTES,
  stagedBytes,
  streamReadBytes,
} from "./stream-reads.js";
export { type TokenCost, tokenCost } from "./token-cost.js";
export { type Bandwidths, type TokenLimitInput, type TokenLimits, tokenLimits } from "./token-limits.js";
