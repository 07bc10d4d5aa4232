export type { Distribution } from "./distribution.js";
export { type Jitter, jitterOf } from "./jitter.js";
export { type NeuronUse, sampleUse, type UseRequest } from "./neuron-use.js";
export type { QueuePoint, SimulatedToken } from "./pipeline.js";
export { type SimulatedRun, type SimulationRequest, simulateRun } from "./simulate-run.js";
export type { Lookahead, Phase } from "./token-steps.js";
