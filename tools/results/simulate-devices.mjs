/**
 * Simulates OPT 6.7B at half of its memory on devices that are published and not here, and writes docs/results/simulated-devices.{csv,md}:
 *
 *     pnpm build && node tools/results/simulate-devices.mjs
 *
 * Nothing is measured: device and model are presets (packages/cost-model), settings are what the plan chooses, tokens are drawn from the
 * preset's sparsity. The same seed gives the same page on every machine. Takes some seconds.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Random } from "../../packages/core/dist/index.js";
import * as costModel from "../../packages/cost-model/dist/index.js";
import { jitterOf, sampleUse, simulateRun } from "../../packages/cost-model/dist/simulate.js";

const { denseBytes, devicePreset, devicePresets, modelPreset, planMemory, planRun } = costModel;

const TOKENS = 2000;
const SEED = 1;
const CONTEXT_TOKENS = 512;
const PROMPT_TOKENS = 128;

/** DRAM of a run with half of the model's weights; buffers and bookkeeping as they are in the engine, roughly. */
function memory(shape, sparsity, settings) {
  const { nLayers, dModel, dFf } = shape;
  const predicted = settings.mode === "predicted";
  return planMemory({
    geometry: shape,
    weights: { slotBytes: shape.recordBytes },
    residentBytes: nLayers * shape.attentionBytes + shape.headBytes,
    rowTableBytes: shape.rowTableBytes,
    predictorBytes: predicted ? shape.predictor.bytesByLayer.reduce((sum, bytes) => sum + bytes, 0) : 0,
    namedShareByLayer: predicted ? sparsity.layers.map(({ unionShare }) => unionShare[0]) : null,
    contextTokens: CONTEXT_TOKENS,
    kvPrecision: "f16",
    activationBytes: (batch) => 4 * batch * (8 * dModel + dFf),
    slotOverheadBytes: 24,
    cacheFixedBytes: nLayers * dFf * 8,
    readBufferBytes: 8 * 2 ** 20,
    budgetBytes: Math.round(denseBytes(shape) / 2),
  });
}

function simulate(device, dtype) {
  const profile = devicePreset(device);
  const { shape, sparsity } = modelPreset("opt-6.7b", dtype);
  const plan = planRun({
    shape,
    profile,
    sparsity,
    length: { promptTokens: PROMPT_TOKENS, decodeTokens: CONTEXT_TOKENS - PROMPT_TOKENS },
    memory: (settings) => memory(shape, sparsity, settings),
  });
  const { settings } = plan;
  const { slotsByLayer, kvPrecision } = plan.memory;
  // Tokens of a run that has been going on for a while: all at one place in it.
  const at = { shape, profile, sparsity, settings, slotsByLayer, kvPrecision, seenTokens: CONTEXT_TOKENS };
  const use = sampleUse({ ...at, tokens: TOKENS }, new Random(SEED));
  const run = simulateRun({ ...at, use, clumping: sparsity.clumping, position: 0, jitter: jitterOf(profile.flash), seed: SEED });
  const mean = (key) => run.tokens.reduce((sum, token) => sum + token[key], 0) / TOKENS;
  return {
    device,
    dtype,
    mode: settings.mode,
    threads: settings.threads,
    readers: settings.readers,
    mergeGapBytes: settings.mergeGapBytes,
    overlap: settings.overlap,
    jitter: jitterOf(profile.flash)?.readSigma ?? 0,
    dramBytes: plan.memory.dram.total,
    flashBytes: mean("flashBytes"),
    reads: mean("flashReads"),
    closedFormMs: plan.cost.token.totalMs,
    meanMs: run.totalMs.mean,
    p50Ms: run.totalMs.p50,
    p90Ms: run.totalMs.p90,
    p99Ms: run.totalMs.p99,
    maxMs: run.totalMs.max,
    waitMs: run.phasesMs.wait,
    readBusyMs: run.readBusyMs.mean,
    computeBusyMs: run.computeBusyMs.mean,
    tokensPerSec: run.tokensPerSec,
  };
}
