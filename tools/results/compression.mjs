/**
 * What a smaller model file loses: types of records, calibrated or not, neurons left out, predictors; writes
 * docs/results/compression.csv and compression.svg:
 *
 *     pnpm build && node tools/results/compression.mjs <folder> [--models a,b] [--windows n] [--rows n]
 *
 * The folder keeps the files and the rows measured so far: --rows measures as many more, 0 only draws. Traces and moments are of train.txt; every row is
 * measured on evaluation.txt, which nothing was chosen by, against the file in f16 with all neurons, dense.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { demoModels } from "@flashwick/demo-models";
import { compressionPicture } from "./src/compression-picture.mjs";
import { machineName } from "./src/machine-name.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const program = join(root, "apps/cli/dist/flashwick.js");
const { words, flags } = scriptArguments({
  usage: "compression.mjs <folder> [--models a,b] [--windows n] [--rows n]",
  words: 1,
  flags: { models: Object.keys(demoModels).join(), windows: null, rows: null },
});
const [folder] = words;
mkdirSync(folder, { recursive: true });

/** Of train.txt, for traces and moments. */
const TOKENS = 102_400;
/** Of the file in f16, that leaving out neurons saves. */
const SHRINKAGE = 0.15;
const FORMS = [
  { weights: "f16" },
  { weights: "int8" },
  { weights: "q4" },
  { weights: "q4, calibrated" },
  { weights: "f16", prune: true },
  { weights: "f16, calibrated", prune: true },
  { weights: "q4", prune: true },
  { weights: "q4, calibrated", prune: true },
];

const flashwick = (...args) =>
  JSON.parse(
    execFileSync(process.execPath, [program, ...args, "--json", "--quiet"], {
      stdio: ["ignore", "pipe", "inherit"],
      maxBuffer: 2 ** 28,
    }),
  );
/** A file of the folder, made if it is not there. */
const made = (name, make) => {
  const path = join(folder, name);
  if (!existsSync(path)) make(path);
  return path;
};

const keptRows = join(folder, "rows.json");
const rows = existsSync(keptRows) ? JSON.parse(readFileSync(keptRows, "utf8")) : [];
let left = flags.rows === null ? Number.POSITIVE_INFINITY : Number(flags.rows);
for (const [model, demo] of Object.entries(demoModels)) {
  if (!flags.models.split(",").includes(model) || !existsSync(demo.predictorPath)) continue;
  for (const form of FORMS) {
    for (const predictor of ["none", "shipped"]) measure(model, demo, form, predictor);
  }
}
const order = (row) => Object.keys(demoModels).indexOf(row.model);
const sorted = rows.toSorted((a, b) => order(a) - order(b));
writeTable("compression.csv", sorted);
writeFileSync(join(root, "docs/results/compression.svg"), compressionPicture(sorted));

function measure(model, demo, { weights, prune = false }, predictor) {
  const isMeasured = (row) =>
    row.model === model && row.weights === weights && row.left_out > 0 === prune && row.predictor === predictor;
  if (left === 0 || rows.some(isMeasured)) return;
  left--;
  const whole = made(`${model}.gguf`, (path) => flashwick("convert", demo.checkpointDir, "-o", path));
  const { path, share } = converted(model, demo, whole, weights, prune);
  const sparse = prune ? path.replace(/\.gguf$/, ".predictor.gguf") : demo.predictorPath;
  const engine = predictor === "none" ? ["--dense"] : ["--predictor", sparse];
  const windows = flags.windows === null ? [] : ["--max-windows", flags.windows];
  const text = ["--text", demo.texts.evaluation, ...windows, "--against", whole];
  const result = flashwick("eval", path, ...engine, ...text);
  const bytes = statSync(path).size + (predictor === "none" ? 0 : statSync(sparse).size);
  rows.push({
    model,
    weights,
    left_out: share,
    predictor,
    bytes,
    file_bytes: statSync(path).size,
    windows: result.windows,
    perplexity: result.perplexity,
    perplexity_rise: result.perplexity / result.against.perplexity - 1,
    top1_agreement: result.against.top1Agreement,
    mean_kl: result.against.meanKl,
    machine: machineName(),
    node: process.versions.node,
  });
  writeFileSync(keptRows, JSON.stringify(rows));
  console.log(Object.values(rows.at(-1)).join("  "));
}

function converted(model, demo, whole, weights, prune) {
  const [dtype, calibrated] = weights.split(", ");
  const name = [model, dtype, calibrated, prune && "pruned"].filter(Boolean).join("-");
  const share = prune ? shareOf(whole) : 0;
  const path = made(`${name}.gguf`, (output) => {
    const train = (...command) => ["trace", ...command, whole, "--text", demo.texts.train, "--tokens", `${TOKENS}`];
    const trace = () => made(`${model}.trace`, (to) => flashwick(...train("record"), "--oracle", "-o", to));
    const moments = () => made(`${model}.moments.gguf`, (to) => flashwick(...train("moments"), "-o", to));
    flashwick(
      ...["convert", demo.checkpointDir, "-o", output, "--dtype", dtype],
      ...(prune ? ["--prune", trace(), "--prune-share", `${share}`, "--predictor", demo.predictorPath] : []),
      ...(calibrated ? ["--calibration", moments()] : []),
    );
  });
  return { path, share };
}

/** Of all neurons, in thousandths: as many as make the file in f16 smaller by {@link SHRINKAGE}. */
function shareOf(whole) {
  const { ffnBytes, fileBytes } = flashwick("inspect", whole);
  return Math.ceil((1000 * SHRINKAGE * fileBytes) / ffnBytes + 5) / 1000;
}
