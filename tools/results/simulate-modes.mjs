/**
 * Which mode `planModes` chooses for a gated 7B model on devices that are published and not here, against every mode simulated; writes
 * docs/results/simulated-modes.{csv,md}:
 *
 *     pnpm build && node tools/results/simulate-modes.mjs
 *
 * The model is Llama 2 7B with a ReLU as the presets have it (ProSparse: 10 % active, twice as many named), in f16: with gates in its records, and with
 * resident gates in Q4_0. Nothing is measured; the same seed gives the same table on every machine. Takes some ten seconds.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Random } from "@flashwick/core";
import {
  DEVICE_PRESETS,
  denseBytes,
  devicePreset,
  gateBytes,
  modelPreset,
  modeSparsity,
  planMemory,
  planModes,
  powerLawLayer,
  UNION_TOKENS,
} from "@flashwick/cost-model";
import { sampleUse, simulateRun } from "@flashwick/cost-model/simulate";
import { markdownTable, writeTable } from "./src/results-table.mjs";

const SEED = 1;
const TOKENS = 64;
const LENGTH = { promptTokens: 128, decodeTokens: 256 };
const BUDGETS = [0.42, 0.5, 0.6, 0.8, 1];
const ACTIVE = 0.1;
const STRIDE_UNIT_BYTES = 512;

const preset = modelPreset("llama-2-7b", "f16");

/** The same weights, gates apart. */
function withResidentGate(shape) {
  const recordBytes = (shape.recordBytes * 2) / 3;
  const bytes = (shape.dFf * shape.dModel * 18) / 32;
  const strideBytes = STRIDE_UNIT_BYTES * Math.ceil(recordBytes / STRIDE_UNIT_BYTES);
  return { ...shape, recordBytes, strideBytes, gate: { dtype: "q4_0", bytes } };
}

function activeSparsity(nLayers) {
  const layer = powerLawLayer(ACTIVE, 0.5, ACTIVE);
  return {
    ...{ source: "ProSparse", unionTokens: UNION_TOKENS, clumping: null, namedQuantiles: null },
    layers: new Array(nLayers).fill(layer),
  };
}

function requestOf(device, budgetShare, residentGate) {
  const shape = residentGate ? withResidentGate(preset.shape) : preset.shape;
  const budgetBytes = Math.round(budgetShare * denseBytes(preset.shape));
  const wish = { budgetBytes, contextTokens: LENGTH.promptTokens + LENGTH.decodeTokens, kvPrecision: "f16" };
  return {
    shape,
    profile: devicePreset(device),
    sparsity: preset.sparsity,
    gateSparsity: residentGate ? activeSparsity(shape.nLayers) : null,
    length: LENGTH,
    memory({ mode }) {
      const asked = preset.memoryRequest(mode === "predicted" ? mode : "dense", wish);
      return planMemory({
        ...asked,
        weights: { slotBytes: shape.strideBytes },
        residentBytes: asked.residentBytes + gateBytes(shape),
        namedShareByLayer: mode === "gate-first" ? "even" : asked.namedShareByLayer,
      });
    },
  };
}

function simulatedMs({ shape, profile, length, ...request }, { settings, memory }) {
  const { slotsByLayer, kvPrecision } = memory;
  const sparsity = modeSparsity({ shape, ...request }, settings.mode);
  const at = { shape, profile, sparsity, settings, slotsByLayer, kvPrecision };
  const use = sampleUse({ ...at, seenTokens: length.promptTokens, tokens: TOKENS }, new Random(SEED));
  return simulateRun({ ...at, use, clumping: sparsity.clumping, position: length.promptTokens }).totalMs.mean;
}

const rows = [];
for (const device of DEVICE_PRESETS) {
  for (const budget of BUDGETS) {
    for (const residentGate of [false, true]) {
      const request = requestOf(device, budget, residentGate);
      const fitting = planModes(request).filter(({ run }) => run !== null);
      const simulated = fitting.map(({ run }) => simulatedMs(request, run.plan));
      const least = Math.min(...simulated);
      for (const [i, { mode, exact, run }] of fitting.entries()) {
        rows.push({
          ...{ device, budget, gates: residentGate ? "resident, q4_0" : "in records", mode, exact, bound: run.bound },
          ...{ plannedMs: run.msPerToken, simulatedMs: simulated[i], overFastest: simulated[i] / least },
          ...{ flashBytes: run.plan.cost.token.flashBytes, chosen: i === 0 },
        });
      }
    }
  }
}
writeTable("simulated-modes.csv", rows);
const chosen = rows.filter((row) => row.chosen);
const worst = Math.max(...chosen.map(({ overFastest }) => overFastest));
const fastest = DEVICE_PRESETS.flatMap((device) =>
  BUDGETS.map((budget) => {
    const of = (gates) => chosen.find((row) => row.device === device && row.budget === budget && row.gates === gates);
    const [inRecords, resident] = [of("in records"), of("resident, q4_0")];
    return {
      ...{ device, budget: `${100 * budget} %`, inRecords: `${shown(inRecords)}`, resident: shown(resident) },
      times: inRecords && resident ? inRecords.simulatedMs / resident.simulatedMs : "",
    };
  }),
);
const page = `# Gates in records, or resident: a 7B model on devices that are not here

These are simulations, not measurements: \`pnpm build && node tools/results/simulate-modes.mjs\` makes this page again on
any machine. The model is the preset Llama 2 7B with a ReLU, in f16 (10 % active, predictors that name twice as many), once with gates in
its records and once with resident gates in Q4_0. The budget is a share of the weights in f16. Each cell is the fastest mode
of the file, as \`planModes\` chose it, and the simulated time of a token after a prompt of ${LENGTH.promptTokens}. In all
${chosen.length} choices the mode chosen is within ${((worst - 1) * 100).toFixed(1)} % of the fastest one simulated. Presets have no rates for blocks of four bits: they are
taken to multiply as many weights a second as the type that is known. Quality is not compared here: gates in four bits cost
some, and a predictor misses neurons.

${markdownTable({ device: "device", budget: "budget", inRecords: "gates in records", resident: "resident gates", times: "times as fast" }, fastest)}

Where there is no entry nothing of the file fits the budget. All figures, mode by mode: [simulated-modes.csv](simulated-modes.csv).
`;
writeFileSync(fileURLToPath(new URL("../../docs/results/simulated-modes.md", import.meta.url)), page);
console.log(page);

/** @param row Of the mode chosen, if any fits. */
function shown(row) {
  return row ? `${row.mode}, ${Number(row.simulatedMs.toPrecision(3))} ms` : "";
}
