export type { CachePolicy, EvictionOrder, Residents, WindowTokens } from "./cache-policy.js";
export { leastStalePolicy } from "./least-stale-policy.js";
export { lfuPolicy } from "./lfu-policy.js";
export { lruPolicy } from "./lru-policy.js";
export { frequencyPinnedPolicy, mostFrequent, pinnedPolicy } from "./pinned-policy.js";
export type { CacheCounters, CacheWave, NeuronCache } from "./plan.js";
export { s3FifoPolicy } from "./s3-fifo-policy.js";
export { cacheBookkeepingBytes, createNeuronCache, type NeuronCacheOptions } from "./slot-cache.js";
export { windowPolicy } from "./window-policy.js";
