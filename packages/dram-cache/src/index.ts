export {
  type CachePolicy,
  frequencyPinnedPolicy,
  lruPolicy,
  mostFrequent,
  pinnedPolicy,
  windowPolicy,
} from "./cache-policy.js";
export type { CacheCounters, CacheWave, NeuronCache } from "./plan.js";
export { cacheBookkeepingBytes, createNeuronCache, type NeuronCacheOptions } from "./slot-cache.js";
