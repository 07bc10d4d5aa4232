export { type KvPrecision, kvCacheBytes } from "./kv-bytes.js";
export { type MemoryPlan, type MemoryRequest, MIN_SLOTS_PER_LAYER, planMemory } from "./memory-plan.js";
export { allocateByDemand, allocateWholeLayers } from "./slot-allocation.js";
export { type TokenLimitInput, type TokenLimits, tokenLimits } from "./token-limits.js";
