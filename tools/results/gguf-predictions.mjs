/**
 * Files of llama.cpp: what `plan` says from the header alone, beside what is measured; writes docs/results/gguf-predictions.csv:
 *
 *     pnpm build && node tools/results/gguf-predictions.mjs SmolLM2-135M-Instruct.Q4_1.gguf llama-7b-q4_k_m.gguf [--rounds 2]
 *
 * Everything in memory, and in budgets of 75 and 50 % of the file, with the threads, readers and overlap that the plan chooses. As in
 * predictions.mjs the machine is profiled before and after each run, and a run that others disturbed is made again.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { cpus } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { openModel } from "@flashwick/runtime/node";
import { estimate } from "@flashwick/runtime/node/estimate";
import { busyMs, othersShare, quickProfile } from "./src/predicted-run.mjs";
import { writeTable } from "./src/results-table.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { values: flags, positionals: paths } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "2" }, tokens: { type: "string", default: "32" } },
});
const decodeTokens = Number(flags.tokens);
/** A small model takes some tokens until V8 has compiled its kernels for good; a large one's first token is long enough for that. */
const WARM_UP = { small: 64, large: 2 };
const LARGE_BYTES = 2 ** 30;
const SHARES = [null, 0.75, 0.5];
const MOST_OTHERS = 0.1;
const MOST_CHANGE = 0.15;
const ATTEMPTS = 4;

const text = readFileSync(join(root, "packages/demo-models/texts/evaluation.txt"), "utf8");

function lengthOf(path) {
  const warmUpTokens = statSync(path).size < LARGE_BYTES ? WARM_UP.small : WARM_UP.large;
  return { promptTokens: 32, warmUpTokens, decodeTokens };
}

/** A run as it was planned by `profile`, and what profiles say of it. */
async function measured(path, share, profile) {
  const dramBudgetBytes = share === null ? undefined : Math.floor(statSync(path).size * share);
  const length = lengthOf(path);
  const contextTokens = length.promptTokens + length.warmUpTokens + decodeTokens;
  const model = await openModel(path, { profile, dramBudgetBytes, contextTokens, mode: "dense" });
  try {
    const words = model.tokenizer.encode(text, {});
    const { settings } = model;
    const predict = (of) =>
      estimate(model.header, {
        ...{ profile: of, dramBudgetBytes: dramBudgetBytes ?? null, kernels: createWasmKernels },
        ...{ length, contextTokens, fixed: settings },
      });
    return await model.withSequence(contextTokens, async (sequence) => {
      await sequence.prefill(words.slice(0, length.promptTokens));
      const all = [];
      let [before, begin] = [null, 0];
      for (let i = 0; i < length.warmUpTokens + decodeTokens; i++) {
        if (i === length.warmUpTokens) [before, begin] = [busyMs(), performance.now()];
        const { stats } = await sequence.decode(words[length.promptTokens + i]);
        if (i >= length.warmUpTokens) all.push(stats);
      }
      const others = othersShare(before, busyMs(), performance.now() - begin);
      const mean = (pick) => all.reduce((sum, stats) => sum + pick(stats), 0) / all.length;
      return { ms: mean(({ ms }) => ms), bytes: mean(({ flashBytes }) => flashBytes), others, settings, predict };
    });
  } finally {
    await model.close();
  }
}

async function row(path, share) {
  let profile = await quickProfile(path);
  for (let attempt = 1; ; attempt++) {
    const run = await measured(path, share, profile);
    const after = await quickProfile(path);
    const [a, b] = [profile, after].map((of) => run.predict(of).cost.token);
    const predictedMs = (a.totalMs + b.totalMs) / 2;
    const change = Math.abs(a.totalMs - b.totalMs) / predictedMs;
    const found = {
      file: basename(path),
      budget: share === null ? "all" : `${100 * share} %`,
      threads: run.settings.threads,
      readers: run.settings.readers,
      overlap: run.settings.overlap,
      measured_tokens_per_s: 1000 / run.ms,
      predicted_tokens_per_s: 1000 / predictedMs,
      // Of the predicted tokens a second over the measured.
      error: run.ms / predictedMs - 1,
      measured_mb: run.bytes / 1e6,
      predicted_mb: a.flashBytes / 1e6,
      others_share: run.others,
      device_change: change,
      attempt,
    };
    console.error(JSON.stringify(found));
    if ((run.others <= MOST_OTHERS && change <= MOST_CHANGE) || attempt === ATTEMPTS) return found;
    profile = after;
  }
}

const machine = `${cpus()[0].model.trim()} x${cpus().length}`;
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const rows = [];
for (const path of paths) {
  for (const share of SHARES) {
    for (let round = 1; round <= Number(flags.rounds); round++) {
      rows.push({ ...(await row(path, share)), round, machine, node: process.version, commit });
    }
  }
}
console.log(writeTable("gguf-predictions.csv", rows));
