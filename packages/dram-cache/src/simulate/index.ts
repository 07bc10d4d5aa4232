export { clairvoyantPolicy } from "./clairvoyant.js";
export { decodeTrace, encodeTrace, type NeuronTrace } from "./neuron-trace.js";
export { type ReplayOptions, type ReplayResult, replayTrace } from "./replay.js";
