export type { CachePolicy, WindowTokens } from "./cache-policy.js";
export { lruPolicy } from "./lru-policy.js";
export { frequencyPinnedPolicy, mostFrequent, pinnedPolicy } from "./pinned-policy.js";
export type { CacheCounters, CacheWave, NeuronCache } from "./plan.js";
export { cacheBookkeepingBytes, createNeuronCache, type NeuronCacheOptions } from "./slot-cache.js";
export { windowPolicy } from "./window-policy.js";
