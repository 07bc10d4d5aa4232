/**
 * Simulates OPT 6.7B at half of its memory on devices that are published and not here, and writes docs/results/simulated-devices.{csv,md}:
 *
 *     pnpm build && node tools/results/simulate-devices.mjs
 *
 * Nothing is measured: device and model are presets (packages/cost-model), settings are what the plan chooses, tokens are what the preset's
 * sparsity says of them. The same seed gives the same page on every machine. Takes some seconds.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Random } from "@flashwick/core";
import { DEVICE_PRESETS, denseBytes, devicePreset, modelPreset, planMemory, planRun } from "@flashwick/cost-model";
import { jitterOf, sampleUse, simulateRun } from "@flashwick/cost-model/simulate";
import { markdownTable, writeTable } from "./src/results-table.mjs";

const SEED = 1;
const CONTEXT_TOKENS = 512;
const PROMPT_TOKENS = 128;
const TOKENS = CONTEXT_TOKENS - PROMPT_TOKENS;
/** Assumed where nobody has published any: a read takes twice as long as the median now and then, and a token's reads a tenth longer or less. */
const ASSUMED_SCATTER = { readSigma: 0.5, tokenSigma: 0.1 };

function simulate(device, dtype) {
  const profile = devicePreset(device);
  const { shape, sparsity, memoryRequest } = modelPreset("opt-6.7b", dtype);
  const wish = {
    budgetBytes: Math.round(denseBytes(shape) / 2),
    contextTokens: CONTEXT_TOKENS,
    kvPrecision: "f16",
  };
  const plan = planRun({
    shape,
    profile,
    sparsity,
    length: { promptTokens: PROMPT_TOKENS, decodeTokens: TOKENS },
    memory: ({ mode }) => planMemory(memoryRequest(mode, wish)),
  });
  const { settings } = plan;
  const { slotsByLayer, kvPrecision } = plan.memory;
  const at = { shape, profile, sparsity, settings, slotsByLayer, kvPrecision };
  const use = sampleUse({ ...at, seenTokens: PROMPT_TOKENS, tokens: TOKENS }, new Random(SEED));
  const simulation = { ...at, use, clumping: sparsity.clumping, position: PROMPT_TOKENS, seed: SEED };
  const run = simulateRun({ ...simulation, jitter: jitterOf(profile.flash) });
  const scattered = simulateRun({ ...simulation, jitter: ASSUMED_SCATTER });
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
    scatteredMeanMs: scattered.totalMs.mean,
    scatteredP99Ms: scattered.totalMs.p99,
    waitMs: run.phasesMs.wait,
    readBusyMs: run.readBusyMs.mean,
    computeBusyMs: run.computeBusyMs.mean,
    tokensPerSec: run.tokensPerSec,
  };
}

const rows = DEVICE_PRESETS.flatMap((device) => ["f16", "int8"].map((dtype) => simulate(device, dtype)));
writeTable("simulated-devices.csv", rows);
const shown = {
  device: "device",
  dtype: "dtype",
  readers: "readers",
  overlap: "overlap",
  closedFormMs: "closed form, ms",
  meanMs: "simulated, ms",
  waitMs: "waiting for reads, ms",
  scatteredMeanMs: "scattered: mean, ms",
  scatteredP99Ms: "scattered: p99, ms",
  tokensPerSec: "tokens/s",
};
writeFileSync(
  fileURLToPath(new URL("../../docs/results/simulated-devices.md", import.meta.url)),
  `# OPT 6.7B within half of its memory, on devices that are not here

These are simulations, not measurements: \`pnpm build && node tools/results/simulate-devices.mjs\` makes this page
again on any machine. Devices and model are presets with published figures
([device-presets.ts](../../packages/cost-model/src/device-presets.ts),
[model-presets.ts](../../packages/cost-model/src/model-presets.ts)). The plan chooses the settings within half of the
weights' bytes, and each row covers the ${TOKENS} tokens after a prompt of ${PROMPT_TOKENS}. Costs that no publication
gives (of calls and of deciding) count as nothing here, so every row is a best case.

${markdownTable(shown, rows)}

The closed form is what \`flashwick plan\` says of the same tokens. It says less or more where rounds of reads do not
come out even. Nobody has published how far the service times of these devices scatter, or how uneven the model's tokens
are; without either, all tokens are alike except for their position. The scattered columns assume that the time of a
read is lognormal with sigma ${ASSUMED_SCATTER.readSigma}, and the device's pace in a token with ${ASSUMED_SCATTER.tokenSigma}. This is the same
assumption for all devices, to show which of them suffer from scatter. All figures: [simulated-devices.csv](simulated-devices.csv).
`,
);
console.log(markdownTable(shown, rows));
