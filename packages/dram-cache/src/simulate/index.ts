export { clairvoyantPolicy } from "./clairvoyant.js";
export type { NeuronTrace } from "./neuron-trace.js";
export { type ReplayOptions, type ReplayResult, replayTrace } from "./replay.js";
export { decodeTrace, encodeTrace } from "./trace-file.js";
