/**
 * Files of llama.cpp: what `plan` says from the header alone, beside what is measured; writes docs/results/gguf-predictions.csv:
 *
 *     pnpm build && node tools/results/gguf-predictions.mjs SmolLM2-135M-Instruct.Q4_1.gguf llama-7b-q4_k_m.gguf
 *         [--rounds 3] [--shares all,75,60,50,40] [--tokens 32]
 *
 * Everything in memory, and in budgets of so many per cent of the file, with the threads, readers and overlap that the plan chooses; budgets that are
 * too small are left out. Runs that others disturb are made again (src/undisturbed-run.mjs). Each round opens each model anew: where its stage lies in
 * physical memory decides how fast reads land there (docs/results/landing-memory.md), so that the table to look at is that of medians over rounds.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { cpus } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { isFlashwickError } from "@flashwick/core";
import { poolScratch } from "@flashwick/kernels-wasm";
import { openModel } from "@flashwick/runtime/node";
import { estimate } from "@flashwick/runtime/node/estimate";
import { busyMs, othersShare } from "./src/predicted-run.mjs";
import { writeTable } from "./src/results-table.mjs";
import { undisturbedRun } from "./src/undisturbed-run.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { values: flags, positionals: paths } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "3" },
    shares: { type: "string", default: "all,75,60,50,40" },
    tokens: { type: "string", default: "32" },
  },
});
const decodeTokens = Number(flags.tokens);
/** A small model takes some tokens until V8 has compiled its kernels for good; a large one's first token is long enough for that. */
const WARM_UP = { small: 64, large: 2 };
const LARGE_BYTES = 2 ** 30;
const PHASES = { readWait: "exposedReadMs", attention: "attentionMs", ffn: "ffnMs", head: "headMs", check: "checkMs" };

const text = readFileSync(join(root, "packages/demo-models/texts/evaluation.txt"), "utf8");
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

function lengthOf(path) {
  const warmUpTokens = statSync(path).size < LARGE_BYTES ? WARM_UP.small : WARM_UP.large;
  return { promptTokens: 32, warmUpTokens, decodeTokens };
}

/** A run as it was planned by `profile`, and what profiles say of it. */
async function measured(path, percent, profile) {
  const dramBudgetBytes = percent === "all" ? undefined : Math.floor((statSync(path).size * Number(percent)) / 100);
  const length = lengthOf(path);
  const contextTokens = length.promptTokens + length.warmUpTokens + decodeTokens;
  const model = await openModel(path, { profile, dramBudgetBytes, contextTokens, mode: "dense" });
  try {
    const { settings } = model;
    const predict = (of) =>
      estimate(model.header, {
        ...{ profile: of, dramBudgetBytes: dramBudgetBytes ?? null, scratch: poolScratch },
        ...{ length, contextTokens, fixed: settings },
      }).cost.token;
    return { ...(await decode(model, length, contextTokens)), settings, predict };
  } finally {
    await model.close();
  }
}

/** Statistics of each token that counts, and what of the machine others had meanwhile. */
async function decode(model, { promptTokens, warmUpTokens }, contextTokens) {
  const words = model.tokenizer.encode(text, {});
  return await model.withSequence(contextTokens, async (sequence) => {
    await sequence.prefill(words.slice(0, promptTokens));
    const tokens = [];
    let [before, begin] = [null, 0];
    for (let i = 0; i < warmUpTokens + decodeTokens; i++) {
      if (i === warmUpTokens) [before, begin] = [busyMs(), performance.now()];
      const { stats } = await sequence.decode(words[promptTokens + i]);
      if (i >= warmUpTokens) tokens.push(stats);
    }
    return { tokens, others: othersShare(before, busyMs(), performance.now() - begin) };
  });
}

function rowOf(path, percent, { tokens, settings }, predictions) {
  const found = (pick) => mean(tokens.map(pick));
  const expected = (pick) => mean(predictions.map(pick));
  const [ms, predictedMs] = [found((token) => token.ms), expected(({ totalMs }) => totalMs)];
  const phases = Object.entries(PHASES).flatMap(([phase, key]) => [
    [`measured_${phase}`, found(({ phaseMs }) => phaseMs[phase])],
    [`predicted_${phase}`, expected((prediction) => prediction[key])],
  ]);
  return {
    file: basename(path),
    budget: percent === "all" ? "all" : `${percent} %`,
    threads: settings.threads,
    readers: settings.readers,
    overlap: settings.overlap,
    measured_tokens_per_s: 1000 / ms,
    predicted_tokens_per_s: 1000 / predictedMs,
    // Of the predicted tokens a second over the measured.
    error: ms / predictedMs - 1,
    measured_mb: found(({ flashBytes }) => flashBytes) / 1e6,
    predicted_mb: expected(({ flashBytes }) => flashBytes) / 1e6,
    // While reads are in flight.
    measured_flash_ms: found(({ flashMs }) => flashMs),
    predicted_flash_ms: expected(({ readMs }) => readMs),
    ...Object.fromEntries(phases),
  };
}

/** A row of the table; null where the budget is too small. */
async function row(path, percent) {
  try {
    return await undisturbedRun(path, {
      run: (profile) => measured(path, percent, profile),
      tokenMs: ({ totalMs }) => totalMs,
      row: (run, predictions) => rowOf(path, percent, run, predictions),
      onAttempt: (found) => console.error(JSON.stringify(found)),
    });
  } catch (error) {
    if (!isFlashwickError(error) || error.code !== "BUDGET_TOO_SMALL") throw error;
    console.error(`${basename(path)} in ${percent} %: ${error.message}`);
    return null;
  }
}

const nameOf = ({ file, budget }) => `${file}, ${budget}`;

/** Medians over rounds, and how far rounds lie apart. */
function summarize(rows) {
  const names = [...new Set(rows.map(nameOf))];
  for (const name of names) {
    const of = rows.filter((one) => nameOf(one) === name);
    const measures = of.map((one) => one.measured_tokens_per_s);
    const [found, expected] = [median([...measures]), median(of.map((one) => one.predicted_tokens_per_s))];
    const error = (100 * (expected / found - 1)).toFixed(0);
    const range = `${Math.min(...measures).toFixed(2)} to ${Math.max(...measures).toFixed(2)}`;
    const others = (100 * Math.max(...of.map((one) => one.others_share))).toFixed(0);
    console.log(
      `${name}: predicted ${expected.toFixed(2)}, measured ${found.toFixed(2)} (${range}): ${error} %; others ${others} %`,
    );
  }
}

const machine = `${cpus()[0].model.trim()} x${cpus().length}`;
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const rows = [];
for (let round = 1; round <= Number(flags.rounds); round++) {
  for (const path of paths) {
    for (const percent of flags.shares.split(",")) {
      const found = await row(path, percent);
      if (found) rows.push({ ...found, round, machine, node: process.version, commit });
    }
  }
}
writeTable("gguf-predictions.csv", rows);
summarize(rows);
