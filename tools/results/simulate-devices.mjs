/**
 * Simulates OPT 6.7B at half of its memory on devices that are published and not here, and writes docs/results/simulated-devices.{csv,md}:
 *
 *     pnpm build && node tools/results/simulate-devices.mjs
 *
 * Nothing is measured: device and model are presets (packages/cost-model), settings are what the plan chooses, tokens are drawn from the
 * preset's sparsity. The same seed gives the same page on every machine. Takes some seconds.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Random } from "@flashwick/core";
import { DEVICE_PRESETS, denseBytes, devicePreset, modelPreset, planMemory, planRun } from "@flashwick/cost-model";
import { jitterOf, sampleUse, simulateRun } from "@flashwick/cost-model/simulate";

const TOKENS = 2000;
const SEED = 1;
const CONTEXT_TOKENS = 512;
const PROMPT_TOKENS = 128;

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
    length: { promptTokens: PROMPT_TOKENS, decodeTokens: CONTEXT_TOKENS - PROMPT_TOKENS },
    memory: ({ mode }) => planMemory(memoryRequest(mode, wish)),
  });
  const { settings } = plan;
  const { slotsByLayer, kvPrecision } = plan.memory;
  // Tokens of a run that has been going on for a while: all at one place in it.
  const at = { shape, profile, sparsity, settings, slotsByLayer, kvPrecision, seenTokens: CONTEXT_TOKENS };
  const use = sampleUse({ ...at, tokens: TOKENS }, new Random(SEED));
  const run = simulateRun({
    ...at,
    use,
    clumping: sparsity.clumping,
    position: 0,
    jitter: jitterOf(profile.flash),
    seed: SEED,
  });
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

const rows = DEVICE_PRESETS.flatMap((device) => ["f16", "int8"].map((dtype) => simulate(device, dtype)));
const columns = Object.keys(rows[0]);
const cell = (value) => (typeof value === "number" ? Number(value.toPrecision(6)) : value);
const lines = [columns, ...rows.map((row) => columns.map((column) => cell(row[column])))];
const results = fileURLToPath(new URL("../../docs/results/", import.meta.url));
writeFileSync(`${results}simulated-devices.csv`, `${lines.map((cells) => cells.join(",")).join("\n")}\n`);
const shown = ["device", "dtype", "mode", "readers", "closedFormMs", "meanMs", "p50Ms", "p99Ms", "tokensPerSec"];
const row = (cells) =>
  `| ${cells.map((value) => (typeof value === "number" ? Number(value.toPrecision(3)) : value)).join(" | ")} |`;
const table = [row(shown), row(shown.map(() => "---")), ...rows.map((found) => row(shown.map((key) => found[key])))];
writeFileSync(
  `${results}simulated-devices.md`,
  `# OPT 6.7B within half of its memory, on devices that are not here

Simulated, not measured: \`pnpm build && node tools/results/simulate-devices.mjs\` gives this page again on any machine. Devices and model are presets
with published figures ([device-presets.ts](../../packages/cost-model/src/device-presets.ts), [model-presets.ts](../../packages/cost-model/src/model-presets.ts)); tokens are
drawn from the preset's sparsity, ${TOKENS} for each row, with the settings that the plan chooses. What no publication tells (the cost of calls and of deciding) is nothing
here, so every row is a best case; scatter of reads is known of none of these devices, hence p50 and p99 lie close together.

${table.join("\n")}

\`closedFormMs\` is what \`flashwick plan\` would say. All figures: [simulated-devices.csv](simulated-devices.csv).
`,
);
console.log(table.join("\n"));
