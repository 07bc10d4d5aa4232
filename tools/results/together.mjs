/**
 * Conversations together in one engine beside one after another, in turns; writes docs/results/together.md and together.csv:
 *
 *     pnpm build && node tools/results/together.mjs <model.gguf> [--modes predicted,dense] [--predictor <file>] [--budget 50]
 *         [--conversations 4] [--turns 2] [--message 16] [--reply 24] [--rounds 3]
 *
 * Both have the same budget, half of the file by default. A mode is one of the model's, by default only `predicted`. Replies are held against each other before anything is reported.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { openModel } from "@flashwick/runtime/node";
import { inTurns, median, ratios } from "./src/in-turns.mjs";
import { machineName } from "./src/machine-name.mjs";
import { markdownTable, writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { words, flags } = scriptArguments({
  usage: "together.mjs <model.gguf> [--modes predicted,dense] [--predictor <file>] [--budget <percent>]",
  words: 1,
  flags: {
    ...{ predictor: null, modes: "predicted", budget: "50", conversations: "4", turns: "2", message: "16" },
    ...{ reply: "24", rounds: "3" },
  },
});
const [path] = words;
const count = Number(flags.conversations);
const [turns, message, reply] = [flags.turns, flags.message, flags.reply].map(Number);
const options = {
  dramBudgetBytes: Math.floor((statSync(path).size * Number.parseFloat(flags.budget)) / 100),
  contextTokens: turns * (message + reply),
  kvPrecision: "f16",
  ...(flags.predictor && { predictor: flags.predictor }),
};
const text = readFileSync(join(root, "packages/demo-models/texts/evaluation.txt"), "utf8");

/** What one side says, by conversation and turn. */
function messagesOf(model) {
  const words = model.tokenizer.encode(text, false);
  return Array.from({ length: count }, (_, conversation) =>
    Array.from({ length: turns }, (_, turn) => {
      const begin = (conversation * turns + turn) * message;
      return words.slice(begin, begin + message);
    }),
  );
}

/** A conversation: each prompt is all that was said before. `generate` gives a run. */
async function converse(messages, generate) {
  const said = [];
  const cost = { tokens: 0, flashBytes: 0, reusedTokens: 0 };
  for (const words of messages) {
    said.push(...words);
    const { tokens, flashBytes, reusedTokens } = await generate([...said], { maxTokens: reply, ignoreEos: true });
    said.push(...tokens);
    cost.tokens += tokens.length;
    cost.flashBytes += flashBytes;
    cost.reusedTokens += reusedTokens;
  }
  return { said, ...cost };
}

async function readRun(run) {
  for (;;) {
    const next = await run.next();
    if (next.done) return next.value;
  }
}

async function oneAfterAnother(mode) {
  const model = await openModel(path, { ...options, mode });
  const generate = async (prompt, wishes) => {
    const { tokens, stats } = await readRun(model.generate(prompt, wishes));
    return { tokens, flashBytes: stats.prefillFlashBytes + stats.flashBytes, reusedTokens: stats.reusedTokens };
  };
  const messages = messagesOf(model);
  await generate(messages[0][0].slice(0, 2), { maxTokens: 2 });
  const result = await timed(async () => {
    const all = [];
    for (const of of messages) all.push(await converse(of, generate));
    return all;
  });
  await model.close();
  return result;
}

async function allTogether(mode) {
  const model = await openModel(path, { ...options, mode, maxSequences: count });
  const scheduler = await model.openScheduler();
  const generate = (prompt, wishes) => readRun(scheduler.generate({ prompt, ...wishes }));
  const messages = messagesOf(model);
  await generate(messages[0][0].slice(0, 2), { maxTokens: 2 });
  const result = await timed(() => Promise.all(messages.map((of) => converse(of, generate))));
  await scheduler.close();
  await model.close();
  return result;
}

async function timed(work) {
  const begin = performance.now();
  const conversations = await work();
  const seconds = (performance.now() - begin) / 1000;
  const sum = (pick) => conversations.reduce((total, one) => total + pick(one), 0);
  const tokens = sum((one) => one.tokens);
  const result = {
    tokens,
    seconds,
    tokensPerSec: tokens / seconds,
    flashBytesPerToken: sum((one) => one.flashBytes) / tokens,
    reusedTokens: sum((one) => one.reusedTokens),
  };
  console.error(result);
  return { ...result, said: JSON.stringify(conversations.map(({ said }) => said)) };
}

/** Both ways in turns, as rows of the table. */
async function compare(mode) {
  const [apart, together] = await inTurns([() => oneAfterAnother(mode), () => allTogether(mode)], Number(flags.rounds));
  if (new Set([...apart, ...together].map(({ said }) => said)).size !== 1) throw new Error(`${mode}: replies differ`);
  const speeds = (results) => results.map(({ tokensPerSec }) => tokensPerSec);
  const over = ratios(speeds(together), speeds(apart));
  return [
    rowOf(mode, "one after another", apart, { times_as_fast: 1, least_times: 1, most_times: 1 }),
    rowOf(mode, `${count} together`, together, {
      ...{ times_as_fast: over.median, least_times: over.least, most_times: over.most },
    }),
  ];
}

function rowOf(mode, run, results, times) {
  return {
    mode,
    run,
    tokens: results[0].tokens,
    tokens_per_sec: median(results.map(({ tokensPerSec }) => tokensPerSec)),
    ...times,
    flash_mb_per_token: median(results.map(({ flashBytesPerToken }) => flashBytesPerToken / 1e6)),
    reused_tokens: results[0].reusedTokens,
    ...{ machine, node: process.version, commit },
  };
}

const machine = machineName();
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const loadBefore = loadavg()[0];
const rows = [];
for (const mode of flags.modes.split(",")) rows.push(...(await compare(mode)));
writeTable("together.csv", rows);
const given = process.argv.slice(2).map((word) => (word.startsWith("--") ? word : basename(word)));
const shown = {
  mode: "mode",
  run: "",
  tokens: "tokens",
  tokens_per_sec: "tokens a second",
  times_as_fast: "times as fast",
  least_times: "least",
  most_times: "most",
  flash_mb_per_token: "flash, MB a token",
  reused_tokens: "prompt tokens reused",
};
const page = `# ${count} conversations together, beside one after another

${new Date().toISOString().slice(0, 10)}. One run of

\`\`\`sh
pnpm build && node tools/results/together.mjs ${given.join(" ")}
\`\`\`

on ${machine}, Node ${process.versions.node}. The machine's load average was ${loadBefore.toFixed(1)} before and ${loadavg()[0].toFixed(1)} after; above 2 means
that other programs ran.

Each of ${count} conversations has ${turns} turns of ${message} new tokens and a greedy reply of ${reply}; each prompt holds
all that was said before. Both runs have a budget of ${flags.budget} % of the file, load the model before the clock starts, and take turns
(${flags.rounds} rounds); ratios are medians of the rounds, with their range. The script compares all replies and stops at the first
difference. Tokens are those of replies; time and bytes include prompts. All figures: [together.csv](together.csv).

${markdownTable(shown, rows)}
`;
writeFileSync(join(root, "docs/results/together.md"), page);
console.log(page);
