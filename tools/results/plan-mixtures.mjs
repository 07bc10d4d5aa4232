/**
 * Plans the published mixtures of experts on a published device, within a quarter, half and three quarters of their files, and writes
 * docs/results/mixture-plans.{csv,md}:
 *
 *     pnpm build && node tools/results/plan-mixtures.mjs
 *
 * Nothing is measured: device and models are presets (packages/cost-model), and so is how often experts come back. The same page on every machine,
 * within some seconds.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { denseBytes, devicePreset, MIXTURE_PRESETS, mixturePreset, planMemory, planRun } from "@flashwick/cost-model";
import { markdownTable, writeTable } from "./src/results-table.mjs";

const DEVICE = "nvme-pcie4";
const SHARES = [0.25, 0.5, 0.75];
const LENGTH = { promptTokens: 128, decodeTokens: 256 };

/** In four bits a weight: as published where that is what they have. */
const typeOf = (name) => (name === "gpt-oss-20b" ? null : "q4");

function plan(name, share) {
  const { shape, locality, memoryRequest } = mixturePreset(name, typeOf(name));
  const fileBytes = denseBytes(shape) + shape.rowTableBytes;
  const wish = { budgetBytes: Math.round(share * fileBytes), contextTokens: 384, kvPrecision: "auto" };
  const memory = planMemory(memoryRequest(wish));
  const profile = devicePreset(DEVICE);
  const { cost } = planRun({ shape, profile, sparsity: null, locality, length: LENGTH, memory: () => memory });
  const { count, chosen } = shape.mixture.layers[0].experts;
  const { token, prefill } = cost;
  return {
    model: name,
    dtype: shape.dtype,
    fileGB: fileBytes / 1e9,
    budgetGB: wish.budgetBytes / 1e9,
    slots: `${Math.min(...memory.slotsByLayer)} of ${count}, ${chosen} chosen`,
    hits: 1 - token.neuronsLoaded / token.neuronsNamed,
    megabytesPerToken: token.flashBytes / 1e6,
    readMs: token.readMs,
    totalMs: token.totalMs,
    tokensPerSec: cost.tokensPerSec,
    prefillSec: prefill.totalMs / 1000,
    prefillGB: prefill.flashBytes / 1e9,
    cycleGB: memory.cycleBudgetBytes / 1e9,
    smallestGB: memory.smallestBudgetBytes / 1e9,
  };
}

const rows = MIXTURE_PRESETS.flatMap((name) => SHARES.map((share) => plan(name, share)));
writeTable("mixture-plans.csv", rows);
const shown = {
  model: "model",
  dtype: "dtype",
  fileGB: "file, GB",
  budgetGB: "budget, GB",
  slots: "slots of a layer",
  hits: "hits",
  megabytesPerToken: "read a token, MB",
  tokensPerSec: "tokens/s",
  prefillSec: "prompt of 128, s",
  smallestGB: "opens with, GB",
  cycleGB: "holds a token's experts with, GB",
};
writeFileSync(
  fileURLToPath(new URL("../../docs/results/mixture-plans.md", import.meta.url)),
  `# Mixtures of experts within a part of their files, as planned

These are plans, not measurements: \`pnpm build && node tools/results/plan-mixtures.mjs\` makes this page again on any
machine, and \`flashwick plan <model> --dtype q4 --preset ${DEVICE} --dram-budget 50%\` one row of it. Models and
device are presets with published figures
([mixture-presets.ts](../../packages/cost-model/src/mixture-presets.ts),
[device-presets.ts](../../packages/cost-model/src/device-presets.ts)). So is the rate at which experts recur
([expert-locality.ts](../../packages/cost-model/src/expert-locality.ts)): for Qwen3-30B-A3B it is that model's own, for
the others it is assumed. Each row is the mean of ${LENGTH.decodeTokens} tokens after a prompt of ${LENGTH.promptTokens}, in four bits a weight;
gpt-oss-20b is as published. What no publication gives counts as nothing here (the cost of calls and of deciding) or as
one half (what reads and arithmetic leave each other).

${markdownTable(shown, rows)}

A run of 384 tokens ends before it has used every expert, so some are still read for the first time, however large the
budget is. All figures: [mixture-plans.csv](mixture-plans.csv).
`,
);
console.log(markdownTable(shown, rows));
