/**
 * What the sparse path costs in quality, beside the flash bytes that it saves: a sweep of ranks, of named over active, and of windows, on the
 * demo models; writes docs/results/quality.csv and quality.svg:
 *
 *     pnpm build && node tools/results/quality.mjs <folder>
 *
 * The folder keeps the model files and the trained predictors: a second run only measures. Thresholds are set on calibration.txt; every row is
 * measured on evaluation.txt, which nothing was set on.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { memorySource, neuronGrid } from "@flashwick/core";
import { demoModels } from "@flashwick/demo-models";
import { readPredictorFile } from "@flashwick/flash-format";
import { chooseCandidates } from "@flashwick/predictor/train";
import { evaluateText, Model } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import { assemblePredictor, f16Bytes, measureCandidates } from "@flashwick/runtime/train";
import { qualityPicture } from "./src/quality-picture.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const program = join(root, "apps/cli/dist/flashwick.js");
const [folder] = scriptArguments({ usage: "quality.mjs <folder>", words: 1 }).words;
mkdirSync(folder, { recursive: true });

const RANKS = [16, 32, 64];
const RATIOS = [1.25, 1.6, 2, 2.5];
const WINDOWS = [1, 4, 16];
/** Of 256 tokens each. */
const CALIBRATION_WINDOWS = 64;
const EVALUATION_WINDOWS = 24;
/** DRAM that flash bytes are counted within, of the file. */
const BUDGET = 0.65;

const flashwick = (...args) =>
  execFileSync(process.execPath, [program, ...args], { stdio: ["ignore", "ignore", "inherit"] });
const rows = [];
for (const [name, demo] of Object.entries(demoModels)) {
  const file = join(folder, `${name}.gguf`);
  if (!existsSync(file)) flashwick("convert", demo.checkpointDir, "-o", file, "--quiet");
  const predictors = {};
  for (const rank of RANKS) predictors[`rank ${rank}`] = read(train(file, name, demo, rank));
  if (existsSync(demo.predictorPath)) predictors.shipped = read(demo.predictorPath);
  await sweep(name, demo, file, predictors);
}
write();

function train(file, name, { texts }, rank) {
  const path = join(folder, `${name}-r${rank}.predictor.gguf`);
  if (existsSync(path)) return path;
  const settings = ["--tokens", "200000", "--epochs", "4", "--rank", `${rank}`, "--named-per-active", "2"];
  flashwick("train", file, "--text", texts.train, "--eval-text", texts.calibration, "-o", path, ...settings, "--quiet");
  return path;
}

function read(path) {
  return { path, source: memorySource(new Uint8Array(readFileSync(path)), path) };
}

async function sweep(name, { texts }, file, files) {
  const model = await openModel(file, { mode: "dense", predictor: null });
  const [calibration, evaluation] = [texts.calibration, texts.evaluation].map((path) => readFileSync(path, "utf8"));
  try {
    for (const [of, { source }] of Object.entries(files)) {
      const predictors = [await readPredictorFile(source)];
      const { kernels } = model.parts;
      const options = { predictors, text: calibration, kernels, maxWindows: CALIBRATION_WINDOWS };
      const { curves: candidates } = await measureCandidates(model, options);
      const bytes = candidates.reduce((sum, [candidate]) => sum + candidate.bytes, 0) / f16Bytes(model.header);
      for (const namedPerActive of RATIOS) {
        const choice = chooseCandidates(candidates, { namedPerActive });
        const predictor = assemblePredictor(predictors, candidates, choice);
        const windows = of === "shipped" && namedPerActive === 2 ? [null, ...WINDOWS] : [null];
        for (const windowTokens of windows) {
          rows.push({
            model: name,
            predictor: of,
            bytes_share: bytes,
            ratio: namedPerActive,
            ...(await measure(model, predictor, evaluation, windowTokens)),
          });
          console.log(
            Object.values(rows.at(-1))
              .map((value) => (typeof value === "number" ? Number(value.toPrecision(5)) : value))
              .join("  "),
          );
        }
      }
    }
  } finally {
    await model.close();
  }
}

async function measure({ parts, header }, predictor, text, windowTokens) {
  const dramBudgetBytes = Math.floor(BUDGET * statSync(parts.file.source.name).size);
  const sparse = new Model(
    { ...parts, predictor },
    { mode: "predicted", dramBudgetBytes, kvPrecision: "f16", ...(windowTokens && { windowTokens }) },
  );
  const dense = new Model({ ...parts, predictor: null }, { mode: "dense" });
  const result = await evaluateText(sparse, text, { against: dense, maxWindows: EVALUATION_WINDOWS });
  const { nLayers, dFf } = neuronGrid(header.geometry);
  return {
    window: windowTokens ?? "as many as fit",
    named_over_active: result.namedOverActive,
    recall: result.recall,
    missed_mass: result.missedMass,
    perplexity_rise: result.perplexity / result.against.perplexity - 1,
    top1_agreement: result.against.top1Agreement,
    mean_kl: result.against.meanKl,
    flash_bytes_per_token: result.flashBytesPerToken,
    naive_bytes_per_token: nLayers * dFf * header.weights.slotBytes,
    missed_mass_by_layer: result.missedMassByLayer.map((share) => share.toPrecision(3)).join(" "),
  };
}

function write() {
  writeTable("quality.csv", rows);
  writeFileSync(join(root, "docs/results/quality.svg"), qualityPicture(rows));
}
