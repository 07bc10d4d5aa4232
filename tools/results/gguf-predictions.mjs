/**
 * Files of llama.cpp: what `plan` says from the header alone, beside what is measured; writes docs/results/gguf-predictions.csv:
 *
 *     pnpm build && node tools/results/gguf-predictions.mjs SmolLM2-135M-Instruct.Q4_1.gguf llama-7b-q4_k_m.gguf
 *         [--rounds 3] [--shares all,75,60,50,40] [--tokens 32] [--out gguf-predictions.csv]
 *
 * Of a mixture of experts what `plan --sparsity <trace>` says: which experts come back is not in a header, and is recorded once of the text.
 * Everything in memory, and in budgets of so many per cent of the file, with the threads, readers and overlap that the plan chooses; budgets that are
 * too small are left out. Runs that others disturb are made again (src/undisturbed-run.mjs). Each profile and each run has a process of its own: where
 * a stage lies in physical memory decides how fast reads land there (docs/results/landing-memory.md), so that the table to look at is that of medians
 * over rounds.
 */
import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { hasExperts } from "@flashwick/core";
import { decodeTrace } from "@flashwick/dram-cache/simulate";
import { poolScratch } from "@flashwick/kernels-wasm";
import { EXPERT_POLICY, policyLocality, recordTrace } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import { estimate } from "@flashwick/runtime/node/estimate";
import { givenTokens, profileApart, runApart } from "./src/gguf-run.mjs";
import { machineName } from "./src/machine-name.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";
import { undisturbedRun } from "./src/undisturbed-run.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { words: paths, flags } = scriptArguments({
  usage: "gguf-predictions.mjs <model.gguf> …",
  words: 0,
  flags: { rounds: "3", shares: "all,75,60,50,40", tokens: "32", out: "gguf-predictions.csv" },
});
const decodeTokens = Number(flags.tokens);
/** A small model takes some tokens until V8 has compiled its kernels for good, and a mixture until its slots are full; a large model's first token is long enough. */
const WARM_UP = { small: 64, mixture: 96, large: 2 };
const LARGE_BYTES = 2 ** 30;
const PHASES = { readWait: "exposedReadMs", attention: "attentionMs", ffn: "ffnMs", head: "headMs", check: "checkMs" };

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** @param trace Of a mixture, what its routers choose of the text; else null. */
function lengthOf(path, trace) {
  const dense = statSync(path).size < LARGE_BYTES ? WARM_UP.small : WARM_UP.large;
  return { promptTokens: 32, warmUpTokens: trace ? WARM_UP.mixture : dense, decodeTokens };
}

/** What predictions need of a file; of a mixture, which experts each token of the text uses. */
async function subjectOf(path) {
  const model = await openModel(path, { mode: "dense" });
  try {
    const { header } = model;
    if (!hasExperts(header.geometry)) return { path, header, trace: null };
    const tokens = givenTokens(model, 32 + WARM_UP.mixture + decodeTokens);
    return { path, header, trace: decodeTrace((await recordTrace(model, [tokens])).bytes) };
  } finally {
    await model.close();
  }
}

/** How often experts come back in the slots of a run. */
function localityIn(header, trace, slots, { promptTokens, warmUpTokens }) {
  if (!trace) return undefined;
  const counts = header.experts.map((of) => of?.count ?? 0);
  const options = { policy: EXPERT_POLICY, counts, slots, warmUpTokens: promptTokens + warmUpTokens };
  return policyLocality("a recording of the text", trace, options);
}

/** A run as it was planned by `profile`, and what profiles say of it. */
async function measured({ path, header, trace }, percent, profile) {
  const length = lengthOf(path, trace);
  const dramBudgetBytes = percent === "all" ? null : Math.floor((statSync(path).size * Number(percent)) / 100);
  const run = await runApart(path, percent, length, profile);
  const { settings, slotsByLayer } = run;
  // JSON has no infinity.
  const fixed = { ...settings, windowTokens: settings.windowTokens ?? Number.POSITIVE_INFINITY };
  const contextTokens = length.promptTokens + length.warmUpTokens + decodeTokens;
  const locality = localityIn(header, trace, slotsByLayer, length);
  const predict = (of) =>
    estimate(header, {
      ...{ profile: of, dramBudgetBytes, scratch: poolScratch, length, contextTokens, fixed, locality },
    }).cost.token;
  return { ...run, predict };
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
async function row(subject, percent) {
  const { path } = subject;
  try {
    return await undisturbedRun(path, {
      profile: profileApart,
      run: (profile) => measured(subject, percent, profile),
      tokenMs: ({ totalMs }) => totalMs,
      row: (run, predictions) => rowOf(path, percent, run, predictions),
      onAttempt: (found) => console.error(JSON.stringify(found)),
    });
  } catch (error) {
    if (!/BUDGET_TOO_SMALL/.test(error.stderr ?? "")) throw error;
    console.error(`${basename(path)} in ${percent} %: the budget is too small`);
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
    const bytes = median(of.map((one) => one.predicted_mb / one.measured_mb - 1));
    const range = `${Math.min(...measures).toFixed(2)} to ${Math.max(...measures).toFixed(2)}`;
    const others = (100 * Math.max(...of.map((one) => one.others_share))).toFixed(0);
    console.log(
      `${name}: predicted ${expected.toFixed(2)}, measured ${found.toFixed(2)} (${range}): ${error} %; bytes ${(100 * bytes).toFixed(1)} %; others ${others} %`,
    );
  }
}

const machine = machineName();
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const rows = [];
const subjects = [];
for (const path of paths) subjects.push(await subjectOf(path));
for (let round = 1; round <= Number(flags.rounds); round++) {
  for (const subject of subjects) {
    for (const percent of flags.shares.split(",")) {
      const found = await row(subject, percent);
      if (found) rows.push({ ...found, round, machine, node: process.version, commit });
    }
  }
}
writeTable(flags.out, rows);
summarize(rows);
