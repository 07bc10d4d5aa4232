export type { PassCost, PrefillCost } from "./cost-figures.js";
export { DEVICE_PRESETS, devicePreset } from "./device-presets.js";
export type {
  BatchRate,
  DeviceProfile,
  FirstMemory,
  FlashProfile,
  KernelOp,
  KernelRate,
  ManagementProfile,
  ReadRatePoint,
  StreamProfile,
} from "./device-profile.js";
export { parseDeviceProfile, parseLocality, parseSparsity } from "./device-profile-document.js";
export {
  checkExpertTrace,
  checkLocality,
  type ExpertLocality,
  type ExpertTrace,
  expertsLoaded,
  expertUnion,
  hitShare,
  type LocalityCurve,
  localityOf,
  localityOfTrace,
  PUBLISHED_LOCALITY,
} from "./expert-locality.js";
export { exposedReadMs, type OverlapShares } from "./exposed-reads.js";
export { profileFor } from "./first-memory.js";
export { type KvPrecision, kvCacheBytes, kvPageCount, kvTableBytes } from "./kv-bytes.js";
export { type LosslessPlan, planLossless } from "./lossless-plan.js";
export { type MemoryPlan, planMemory } from "./memory-plan.js";
export type { MemoryRequest, PlannedExperts } from "./memory-request.js";
export { MIXTURE_PRESETS, type MixturePreset, mixturePreset, type PublishedMixture } from "./mixture-presets.js";
export {
  type ExpertsShape,
  expertFlashBytes,
  type MixtureLayer,
  type MixtureShape,
  meanExpert,
  type TypedBytes,
} from "./mixture-shape.js";
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
  gateBytes,
  type ModelShape,
  type PredictorShape,
  type RowStream,
  type TypeShare,
} from "./model-shape.js";
export { passCost } from "./pass-cost.js";
export type { EngineMethod, EngineSettings, TokenRequest } from "./pass-request.js";
export { type DraftShares, type ModePlan, type ModeRun, planModes, type RunMode } from "./plan-modes.js";
export { type Alternative, modeSparsity, type PlanRequest, plannedModes, planRun, type RunPlan } from "./plan-run.js";
export { prefillCost } from "./prefill-cost.js";
export { batchReadMs, readBytesPerSec } from "./read-time.js";
export { type Bound, type RunCost, type RunLength, runCost } from "./run-cost.js";
export { allocateByDemand, allocateWholeLayers } from "./slot-allocation.js";
export { MIN_EXPERT_SLOTS_PER_LAYER, MIN_SLOTS_PER_LAYER } from "./slot-units.js";
export {
  type CacheUse,
  checkSparsity,
  denseSparsity,
  heldShare,
  missShare,
  namedShare,
  powerLawLayer,
  UNION_TOKENS,
  unionShare,
  windowExponent,
} from "./sparsity.js";
export {
  chooseDraftTokens,
  type Speculation,
  type SpeculationRequest,
  speculationCost,
} from "./speculation-cost.js";
export { SpeculationMeter, type SpeculationPrior } from "./speculation-meter.js";
export {
  type ChunkPart,
  chunkParts,
  chunkReadBytes,
  cutRows,
  LONGEST_CHUNK_BYTES,
  LONGEST_EXPERT_READ_BYTES,
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
