/**
 * The dense model's output at nearly the sparse path's speed: measures dense, sparse and lossless runs in turns, and writes docs/results/lossless.csv:
 *
 *     pnpm build && node tools/results/lossless.mjs --f16 opt-6.7b-f16.gguf --int8 opt-6.7b-int8.gguf [--rounds 3] [--tokens 48] [--dense-tokens 12]
 *
 * Every run is a process of its own, cold: reads are direct. Lossless tokens are held against dense ones before anything is reported.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inTurns, median, ratios } from "./src/in-turns.mjs";
import { machineName } from "./src/machine-name.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { flags } = scriptArguments({
  usage: "lossless.mjs --f16 <model.gguf> --int8 <model.gguf>",
  flags: {
    ...{ f16: null, int8: null, rounds: "3", tokens: "48", "dense-tokens": "12" },
    ...{ "prompt-characters": "300", out: "lossless.csv" },
  },
  needed: ["f16", "int8"],
});
const prompt = readFileSync(join(root, "packages/demo-models/texts/evaluation.txt"), "utf8").slice(
  0,
  Number(flags["prompt-characters"]),
);

/** @param {string} file @param {number} budget @param {number} tokens @param {readonly string[]} mode */
function run(file, budget, tokens, mode) {
  const program = join(root, "apps/cli/dist/flashwick.js");
  const args = ["run", file, "--prompt", prompt, "--max-tokens", `${tokens}`, "--dram-budget", `${budget}`];
  const out = execFileSync(
    process.execPath,
    [program, ...args, "--kv-precision", "f16", ...mode, "--json", "--quiet"],
    {
      maxBuffer: 1 << 28,
    },
  );
  const result = JSON.parse(out.toString("utf8"));
  console.error(`${file} ${mode.join(" ") || "sparse"}: ${result.stats.tokensPerSec.toPrecision(4)} tokens/s`);
  return result;
}

const half = Math.floor(statSync(flags.f16).size / 2);
const cases = [
  { name: "f16, half of the file", file: flags.f16, budget: half },
  { name: "int8, the DRAM of the f16 run", file: flags.int8, budget: half },
  { name: "int8, half of its own file", file: flags.int8, budget: Math.floor(statSync(flags.int8).size / 2) },
];
const rounds = Number(flags.rounds);
const machine = machineName();
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const rows = [];
for (const { name, file, budget } of cases) {
  const [dense, sparse, lossless] = await inTurns(
    [
      () => run(file, budget, Number(flags["dense-tokens"]), ["--dense"]),
      () => run(file, budget, Number(flags.tokens), []),
      () => run(file, budget, Number(flags.tokens), ["--lossless"]),
    ],
    rounds,
  );
  const expected = dense[0].tokens;
  for (const { tokens } of lossless) {
    const equal = expected.every((token, i) => token === tokens[i]);
    if (!equal) throw new Error(`${name}: lossless tokens ${tokens} are not the dense run's ${expected}`);
  }
  const speed = (runs) => runs.map(({ stats }) => stats.tokensPerSec);
  const over = ratios(speed(lossless), speed(dense));
  const drafts = lossless.map(({ stats }) => stats.speculation);
  const of = (pick) => median(drafts.map(pick));
  rows.push({
    case: name,
    budget_bytes: budget,
    dense_tokens_per_s: median(speed(dense)),
    sparse_tokens_per_s: median(speed(sparse)),
    lossless_tokens_per_s: median(speed(lossless)),
    lossless_over_dense: over.median,
    least: over.least,
    most: over.most,
    lossless_over_sparse: ratios(speed(lossless), speed(sparse)).median,
    acceptance: of(({ accepted, drafted }) => accepted / Math.max(1, drafted)),
    drafts_per_step: of(({ drafted, steps }) => drafted / steps),
    tokens_per_step: of(({ tokensPerStep }) => tokensPerStep),
    draft_share: of(({ draftMs, verifyMs }) => draftMs / (draftMs + verifyMs)),
    verify_ms_per_step: of(({ verifyMs, steps }) => verifyMs / steps),
    rounds,
    machine,
    node: process.version,
    commit,
  });
}
console.log(writeTable(flags.out, rows));
