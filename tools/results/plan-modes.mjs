/**
 * The mode that `flashwick plan` says is fastest, against all that a file offers, each measured; writes docs/results/plan-modes.csv:
 *
 *     pnpm build && flashwick profile && node tools/results/plan-modes.mjs <model.gguf>… [--budgets 40%,60%,80%] [--rounds 3] [--tokens 48]
 *         [--predictor <file>] [--gate-sparsity <file>] [--lookup-acceptance <share>] [--out plan-modes.csv]
 *
 * Every run is a process of its own, with the settings that the plan has for its mode; modes take turns. Exact modes must give the dense run's tokens before
 * anything is reported. Prints the chosen mode beside the fastest, and by how much it is slower.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { inTurns, median } from "./src/in-turns.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { words: files, flags } = scriptArguments({
  usage: "plan-modes.mjs <model.gguf>…",
  words: 1,
  flags: {
    ...{ budgets: "40%,60%,80%", rounds: "3", tokens: "48", "prompt-characters": "300", out: "plan-modes.csv" },
    ...{ predictor: null, "gate-sparsity": null, "lookup-acceptance": null },
  },
});
const program = join(root, "apps/cli/dist/flashwick.js");
const prompt = readFileSync(join(root, "packages/demo-models/texts/evaluation.txt"), "utf8").slice(
  0,
  Number(flags["prompt-characters"]),
);
/** Of a model without a tokenizer. */
const PROMPT_TOKENS = Array.from({ length: 32 }, (_, i) => 3 + ((i * 37) % 200)).join(",");

/** @param {readonly string[]} args */
function flashwick(...args) {
  const out = execFileSync(process.execPath, [program, ...args, "--json", "--quiet"], { maxBuffer: 1 << 28 });
  return JSON.parse(out.toString("utf8"));
}

/** As the program finds it by itself, which it does only where a plan with it is the fastest. */
function predictorOf(file) {
  const beside = file.replace(/\.gguf$/, ".predictor.gguf");
  if (flags.predictor !== undefined) return ["--predictor", flags.predictor];
  return existsSync(beside) ? ["--predictor", beside] : [];
}

const given = (name) => (flags[name] === undefined ? [] : [`--${name}`, flags[name]]);

/** Flags of a mode, without its settings. */
function modeFlags(file, { mode, engineMode }) {
  const predictor = predictorOf(file);
  const of = { dense: ["--dense"], "gate-first": ["--gate-first"], predicted: predictor, lossless: predictor };
  if (mode === "lossless") return [...of.lossless, "--lossless"];
  if (mode === "lookup") return [...of[engineMode], "--speculate", "lookup"];
  return [...of[mode], "--speculate", "off"];
}

function settingFlags({ threads, readers, mergeGapBytes, overlap, windowTokens }) {
  const window = windowTokens === null ? [] : ["--window", `${windowTokens}`];
  const how = ["--threads", `${threads}`, "--readers", `${readers}`, "--merge-gap", `${mergeGapBytes}`];
  return [...how, "--overlap", overlap ? "on" : "off", "--lookahead", "off", ...window];
}

function run(file, budget, planned) {
  const hasTokenizer = flashwick("inspect", file).tokenizer !== null;
  const text = hasTokenizer ? ["--prompt", prompt] : ["--tokens", PROMPT_TOKENS];
  const how = [...modeFlags(file, planned), ...settingFlags(planned.settings)];
  const length = ["--max-tokens", flags.tokens, "--dram-budget", budget, "--kv-precision", "f16"];
  return flashwick("run", file, ...text, ...length, ...how);
}

const machine = `${cpus()[0].model.trim()} x${cpus().length}`;
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const rows = [];
for (const file of files) {
  for (const budget of flags.budgets.split(",")) {
    const asked = ["predictor", "gate-sparsity", "lookup-acceptance"].flatMap(given);
    const plan = flashwick("plan", file, "--dram-budget", budget, "--kv-precision", "f16", ...asked);
    const planned = plan.modes.filter(({ fits }) => fits);
    const runs = await inTurns(
      planned.map((mode) => () => run(file, budget, mode)),
      Number(flags.rounds),
    );
    checkExact(file, planned, runs);
    const measured = runs.map((of) => median(of.map(({ stats }) => stats.tokenMs.mean)));
    const best = Math.min(...measured);
    console.log(
      `${basename(file)} within ${budget}: chosen ${name(planned[0])}, fastest ${name(planned[measured.indexOf(best)])}, ` +
        `${((measured[0] / best - 1) * 100).toFixed(1)} % slower`,
    );
    for (const [i, mode] of planned.entries()) {
      rows.push({
        ...{ file: basename(file), budget, mode: name(mode), exact: mode.exact, bound: mode.bound },
        ...{ planned_ms: mode.msPerToken, measured_ms: measured[i], over_fastest: measured[i] / best },
        ...{ chosen: i === 0, fastest: measured[i] === best, rounds: flags.rounds, device: plan.device, machine },
        ...{ node: process.version, commit },
      });
    }
    writeTable(flags.out, rows);
  }
}

function name({ mode, engineMode }) {
  return mode === "lookup" ? `lookup, ${engineMode}` : mode;
}

/** @throws Where an exact mode gives other tokens than another one. */
function checkExact(file, planned, runs) {
  const exact = planned.flatMap((mode, i) => (mode.exact ? runs[i].map(({ tokens }) => ({ mode, tokens })) : []));
  for (const { mode, tokens } of exact) {
    if (JSON.stringify(tokens) === JSON.stringify(exact[0].tokens)) continue;
    throw new Error(`${file}: ${name(mode)} gives ${tokens}, ${name(exact[0].mode)} ${exact[0].tokens}`);
  }
}
