/** Test support: requests that the closed form and the simulation both answer. */
import fc from "fast-check";
import { deviceProfile, devices, shape as small, sparsities, sparsityOf } from "../cost.fixture.js";
import type { ModelShape } from "../model-shape.js";
import type { TokenRequest } from "../pass-request.js";
import { sampleUse } from "./neuron-use.js";
import { type SimulatedRun, type SimulationRequest, simulateRun } from "./simulate-run.js";

/** Layers of enough neurons for many rounds of reads. */
export const shape: ModelShape = { ...small, dFf: 16384 };

export const request: TokenRequest = {
  shape,
  profile: deviceProfile({}),
  sparsity: sparsityOf([0.3, 0.1, 0.1, 0.2]),
  settings: {
    mode: "predicted",
    windowTokens: Number.POSITIVE_INFINITY,
    threads: 2,
    readers: 8,
    mergeGapBytes: 0,
    overlap: false,
  },
  slotsByLayer: [8192, 4096, 4096, 8192],
  kvPrecision: "f16",
  position: 100,
  seenTokens: 100,
};

/** Any device, model, cache and setting in reason; predicted, without overlap. */
export const requests: fc.Arbitrary<TokenRequest> = fc
  .record({
    device: devices,
    sparsity: sparsities,
    slots: fc.array(fc.integer({ min: 512, max: 16384 }), { minLength: 4, maxLength: 4 }),
    readers: fc.integer({ min: 1, max: 32 }),
    threads: fc.integer({ min: 1, max: 2 }),
    mergeGapBytes: fc.constantFrom(0, 4096, 16384),
    windowTokens: fc.constantFrom(1, 5, Number.POSITIVE_INFINITY),
    readsPerNeuron: fc.integer({ min: 1, max: 2 }),
    parallelBlock: fc.boolean(),
    position: fc.integer({ min: 0, max: 2000 }),
  })
  .map(({ device, sparsity, slots, readsPerNeuron, parallelBlock, position, ...settings }) => ({
    ...request,
    shape: { ...shape, readsPerNeuron, parallelBlock, strideBytes: 4096 / readsPerNeuron },
    profile: deviceProfile(device),
    sparsity,
    settings: { ...request.settings, ...settings },
    slotsByLayer: slots,
    position,
    seenTokens: position,
  }));

/** The mean token of a request. */
export function simulated(of: TokenRequest, more: Partial<SimulationRequest> = {}): SimulatedRun {
  const use = sampleUse({ ...of, tokens: 1 }, null);
  return simulateRun({ ...of, use, clumping: of.sparsity.clumping, ...more });
}
