export { clairvoyantMisses } from "./clairvoyant.js";
export { lfuPolicy } from "./lfu-policy.js";
export type { NeuronTrace } from "./neuron-trace.js";
export {
  type CoActivationOptions,
  coActivationOrder,
  hotnessOrder,
  invertPlacement,
  placeTrace,
} from "./placement.js";
export { type ReplayOptions, type ReplayResult, replayTrace } from "./replay.js";
export { s3FifoPolicy } from "./s3-fifo-policy.js";
export { decodeTrace, encodeTrace, TraceEncoder } from "./trace-file.js";
