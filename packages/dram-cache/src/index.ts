export type { CacheCounters, CacheWave, NeuronCache } from "./plan.js";
