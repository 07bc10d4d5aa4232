/**
 * Measures the demo model through the command line, and writes docs/results/opt-demo.csv:
 *
 *     pnpm build && node tools/results/opt-demo.mjs
 *
 * Every row is one command of one run of this script; its figures are what the command printed. Takes some minutes.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { machineName } from "./src/machine-name.mjs";
import { writeTable } from "./src/results-table.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const demo = join(root, "packages/demo-models");
const checkpoint = join(demo, "models/opt-demo");
const predictor = join(checkpoint, "opt-demo.predictor.gguf");
const text = join(demo, "texts/evaluation.txt");
const dir = mkdtempSync(join(tmpdir(), "flashwick-results-"));

/** Runs a command and gives its JSON document. */
function flashwick(...args) {
  const program = join(root, "apps/cli/dist/flashwick.js");
  const out = execFileSync(process.execPath, [program, ...args, "--json", "--quiet"], { maxBuffer: 1 << 28 });
  return JSON.parse(out.toString("utf8"));
}

const rows = [];
const add = (what, figure, unit, command) => rows.push({ what, figure, unit, command });

try {
  const files = Object.fromEntries(["f16", "f32", "int8"].map((dtype) => [dtype, join(dir, `opt-demo-${dtype}.gguf`)]));
  for (const [dtype, path] of Object.entries(files)) flashwick("convert", checkpoint, "-o", path, "--dtype", dtype);
  const fileBytes = statSync(files.f16).size;
  add("model file, f16", fileBytes, "bytes", "convert --dtype f16");

  const quality = flashwick("eval", files.f16, "--predictor", predictor, "--text", text, "--against", "dense");
  const command = "eval --predictor --against dense";
  add("dense perplexity", quality.against.perplexity, "", command);
  add("predicted perplexity", quality.perplexity, "", command);
  add("perplexity rise", 100 * (quality.perplexity / quality.against.perplexity - 1), "%", command);
  add("top-1 agreement with dense", 100 * quality.against.top1Agreement, "%", command);
  add("mean KL from dense", quality.against.meanKl, "nat", command);
  add("named over truly active", quality.namedOverActive, "", command);
  add("recall", 100 * quality.recall, "%", command);
  add("missed output mass", 100 * quality.missedMass, "%", command);

  const int8 = flashwick("eval", files.int8, "--dense", "--text", text, "--against", files.f32);
  add("int8: top-1 agreement with dense f32", 100 * int8.against.top1Agreement, "%", "eval int8 --against f32");
  add("int8: mean KL from dense f32", int8.against.meanKl, "nat", "eval int8 --against f32");

  const prompt = ["--prompt", "In the beginning", "--max-tokens", "200"];
  for (const [name, mode] of [
    ["dense", ["--dense"]],
    ["predicted", ["--predictor", predictor]],
  ]) {
    for (const budget of ["50%", "75%", "100%"]) {
      const { stats } = flashwick("run", files.f16, ...prompt, ...mode, "--dram-budget", budget);
      const run = `run --max-tokens 200 --dram-budget ${budget} ${mode[0]}`;
      const say = (what, figure, unit) => add(`${name}, budget ${budget}: ${what}`, figure, unit, run);
      say("DRAM", stats.dramBytes.total, "bytes");
      say("flash per token", stats.flashBytesPerToken, "bytes");
      say("reads per token", stats.readsPerToken, "");
      say("neurons in DRAM already", (100 * stats.cacheHits) / (stats.cacheHits + stats.cacheMisses), "%");
      say("token", stats.tokenMs.mean, "ms");
      say("speed", stats.tokensPerSec, "tokens/s");
      if (budget === "50%") {
        say("naive flash per token", stats.naiveFlashBytesPerToken, "bytes");
        say("naive reads per token", stats.naiveReadsPerToken, "");
      }
    }
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}

const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const machine = machineName();
writeTable(
  "opt-demo.csv",
  rows.map((row) => ({ ...row, machine, node: process.version, commit })),
);
for (const { what, figure, unit } of rows) console.log(`${what.padEnd(48)} ${Number(figure).toPrecision(6)} ${unit}`);
