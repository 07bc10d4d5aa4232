export { type MemoryPart, memoryReader } from "./memory-reader.js";
export type { FlashReader } from "./reader.js";
export { type FlashRun, planRuns, type RecordPlaces, type RunLimits, type RunPiece } from "./run-plan.js";
