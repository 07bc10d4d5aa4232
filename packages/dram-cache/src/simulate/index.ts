export { clairvoyantMisses } from "./clairvoyant.js";
export type { NeuronTrace, TraceOrigin } from "./neuron-trace.js";
export {
  type CoActivationOptions,
  coActivationOrder,
  hotnessOrder,
  invertPlacement,
  placeTrace,
} from "./placement.js";
export { pooledTrace } from "./pooled-trace.js";
export { type RankedPolicies, type RankOptions, rankPolicies } from "./rank-policies.js";
export { type ReplayOptions, type ReplayResult, replayTrace } from "./replay.js";
export { decodeTrace, encodeTrace, TraceEncoder } from "./trace-file.js";
