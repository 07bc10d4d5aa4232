/**
 * The share of a token's time that predictors take: decodes the evaluation text, token after token, with the demos' predictors and others, within 60 % of the
 * file and with everything in DRAM; prints a table and writes docs/results/predictor-time.csv:
 *
 *     pnpm build && node tools/results/predictor-time.mjs <folder with opt-demo.gguf, falcon-demo.gguf and gated-demo.gguf> [--rounds 40]
 *         [--others falcon-demo=other.predictor.gguf,…] [--table predictor-time.csv|none]
 *
 * A round is one window of the text with each predictor and budget, in turns, within one process; all models stay open, so caches are as the last window left
 * them. A token's share is its time in the phase `predict`, which is everything the chooser does, over its whole time. Other work on the machine stops single
 * tokens and lengthens them tenfold, so a round's share is the median over its tokens, and rows have the median over rounds, and its quartiles. Beside it stands
 * the share of all the time of a round's tokens.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { demoModels } from "@flashwick/demo-models";
import { predictorBytes } from "@flashwick/predictor";
import { openModel } from "@flashwick/runtime/node";
import { f16Bytes } from "@flashwick/runtime/train";
import { inTurns, median, quantile } from "./src/in-turns.mjs";
import { machineName } from "./src/machine-name.mjs";
import { markdownTable, writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const { words, flags } = scriptArguments({
  usage:
    "predictor-time.mjs <folder> [--rounds 40] [--models a,b] [--others falcon-demo=other.predictor.gguf,…] [--table predictor-time.csv|none]",
  words: 1,
  flags: { rounds: "40", models: Object.keys(demoModels).join(), others: "", table: "predictor-time.csv" },
});
const [folder] = words;
const rounds = Number(flags.rounds);
/** Of the file; null: everything in DRAM. */
const BUDGETS = [0.6, null];
const WINDOW_TOKENS = 256;
/** Of the text, one after the other and again. The first round counts nowhere. */
const WINDOWS = 8;
/** Holds any of the models. */
const ALL_BYTES = 2 ** 30;

/** Predictor files of a model: the shipped ones, and others from the command line. */
function predictorsOf(name, { checkpointDir }) {
  const others = flags.others.split(",").map((other) => other.split("="));
  return [...shippedIn(checkpointDir), ...others.filter(([model]) => model === name).map(([, path]) => path)];
}

function shippedIn(directory) {
  const files = readdirSync(directory).filter((file) => file.endsWith(".predictor.gguf"));
  return files.sort().map((file) => join(directory, file));
}

/** A predictor within a budget: an open model, and how it decodes the next window. */
async function contender(name, predictor, budget, evaluation) {
  const file = join(folder, `${name}.gguf`);
  const dramBudgetBytes = budget === null ? ALL_BYTES : Math.floor(budget * statSync(file).size);
  const model = await openModel(file, { predictor, dramBudgetBytes, contextTokens: WINDOW_TOKENS });
  const tokens = model.tokenizer.encode(readFileSync(evaluation, "utf8"), false);
  let next = 0;
  const decodeWindow = async () => {
    const begin = (next++ % WINDOWS) * WINDOW_TOKENS;
    return await decode(model, tokens.slice(begin, begin + WINDOW_TOKENS));
  };
  return { name, predictor, budget, model, decodeWindow };
}

/** What a window of tokens cost: medians over its tokens, and the share of all its time. */
async function decode(model, window) {
  const costs = [];
  await model.withSequence(window.length, async (sequence) => {
    for (const token of window) costs.push((await sequence.decode(token)).stats);
  });
  const sum = (pick) => costs.reduce((total, stats) => total + pick(stats), 0);
  return {
    share: median(costs.map(({ ms, phaseMs }) => phaseMs.predict / ms)),
    shareOfAll: sum(({ phaseMs }) => phaseMs.predict) / sum(({ ms }) => ms),
    predictMs: median(costs.map(({ phaseMs }) => phaseMs.predict)),
    ms: median(costs.map(({ ms }) => ms)),
    flashBytes: sum(({ flashBytes }) => flashBytes) / window.length,
  };
}

/** Of the model's bytes in f16. */
function byteShare({ parts, header }) {
  return parts.predictor.layers.reduce((sum, layer) => sum + predictorBytes(layer), 0) / f16Bytes(header);
}

const contenders = [];
for (const name of flags.models.split(",")) {
  const demo = demoModels[name];
  for (const predictor of predictorsOf(name, demo)) {
    for (const budget of BUDGETS) contenders.push(await contender(name, predictor, budget, demo.texts.evaluation));
  }
}
const runs = contenders.map(({ decodeWindow }) => decodeWindow);
await inTurns(runs, 1);
const measured = await inTurns(runs, rounds);
const rows = contenders.map(({ name, predictor, budget, model }, i) => {
  const middle = (pick) => median(measured[i].map(pick));
  const shares = measured[i].map(({ share }) => share);
  return {
    ...{ model: name, predictor: basename(predictor), byte_share: byteShare(model), budget: budget ?? "all" },
    ...{ rounds, tokens_per_round: WINDOW_TOKENS, predict_share: median(shares) },
    ...{ share_quartile_1: quantile(shares, 1 / 4), share_quartile_3: quantile(shares, 3 / 4) },
    share_of_all_time: middle(({ shareOfAll }) => shareOfAll),
    predict_us: middle(({ predictMs }) => 1000 * predictMs),
    token_us: middle(({ ms }) => 1000 * ms),
    flash_bytes_per_token: middle(({ flashBytes }) => flashBytes),
    ...{ machine: machineName(), node: process.version },
  };
});
for (const { model } of contenders) await model.close();
if (flags.table !== "none") writeTable(flags.table, rows);
const shown = {
  ...{ model: "model", predictor: "predictor", byte_share: "bytes, of f16", budget: "budget, of the file" },
  ...{ predict_share: "share of a token", share_quartile_1: "lower quartile", share_quartile_3: "upper" },
  ...{ share_of_all_time: "of all time", predict_us: "predict, µs", token_us: "token, µs" },
};
console.log(markdownTable(shown, rows));
