// @ts-check
/**
 * The budget holds: every case of src/budgets/cases.mjs in a memory control group of its budget and the overhead that packages/runtime/README.md states. Writes
 * docs/results/budgets.csv:
 *
 *     pnpm build && node tools/reliability/budgets.mjs [--from n] [--minutes m] [--only text] [--work folder] [--table file]
 *
 * The command line is run as it is built, by `flashwick bench memory`. A row is bad if the kernel killed or swapped, or if the command failed.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { budgetCases } from "./src/budgets/cases.mjs";

const MiB = 2 ** 20;
/** packages/runtime/README.md, "Memory". */
const OVERHEAD_BYTES = 128 * MiB;
const THREAD_BYTES = 12 * MiB;
const PORT = 18080;

const root = fileURLToPath(new URL("../../", import.meta.url));
const program = join(root, "apps/cli/dist/flashwick.js");
const demos = join(root, "packages/demo-models/models");
const texts = join(root, "packages/demo-models/texts");

const { values: flags } = parseArgs({
  options: {
    from: { type: "string", default: "0" },
    minutes: { type: "string" },
    only: { type: "string", default: "" },
    work: { type: "string", default: join(tmpdir(), "flashwick-budgets") },
    table: { type: "string", default: join(root, "docs/results/budgets.csv") },
  },
});
const untilMs = flags.minutes === undefined ? Number.POSITIVE_INFINITY : Date.now() + 60_000 * Number(flags.minutes);
mkdirSync(flags.work, { recursive: true });

/** @param {readonly string[]} args */
function flashwick(args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

/** The file of a model, made once. @param {string} key */
function modelFile(key) {
  const path = join(flags.work, `${key.replaceAll(" ", "-").replace(".gguf", "")}.gguf`);
  if (existsSync(path)) return path;
  const [name = "", dtype = ""] = key.split(" ");
  if (name.endsWith(".gguf")) copyFileSync(join(root, "packages/runtime/fixtures/gguf", name), path);
  else if (name === "large") {
    const script = join(root, "tools/scale-model/dist/scale-model.js");
    const size = ["--d-model", "1024", "--d-ff", "4096", "--layers", "12", "--heads", "16"];
    const { status, stderr } = spawnSync(process.execPath, [script, ...size, "-o", path], { encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
  } else {
    const made = flashwick(["convert", join(demos, name), "-o", path, "--dtype", dtype, "--quiet"]);
    if (made.status !== 0) throw new Error(made.stderr);
    const predictor = join(demos, name, `${name}.predictor.gguf`);
    // A predictor belongs to one file: of the others only dense modes are run.
    if (dtype === "f16" && existsSync(predictor)) copyFileSync(predictor, path.replace(/\.gguf$/, ".predictor.gguf"));
  }
  return path;
}

/** @param {import("./src/budgets/cases.mjs").BudgetCase} of @param {string} path @returns {string[]} */
function argumentsOf({ command, flags: own, promptTokens, newTokens, threads, readers, workers }, path) {
  const output = join(flags.work, "output.gguf");
  const threading = ["--threads", `${threads}`, "--readers", `${readers}`];
  switch (command) {
    case "run": {
      const tokens = Array.from({ length: promptTokens }, (_, i) => 3 + ((31 * i) % 80)).join();
      const length = ["--tokens", tokens, "--max-tokens", `${newTokens}`, "--context", `${promptTokens + newTokens}`];
      return ["run", path, ...length, ...threading, ...own];
    }
    case "serve":
      return ["serve", path, "--port", `${PORT}`, "--max-sequences", "4", "--context", "128", ...threading];
    case "eval":
      return ["eval", path, "--text", join(texts, "evaluation.txt"), "--max-windows", "2", ...own];
    case "train":
      return [
        ...["train", path, "--text", join(texts, "calibration.txt"), "-o", output, "--force", "--layers", "0-1"],
        ...["--rank", "8", "--epochs", "1", "--tokens", "4096", "--workers", `${workers}`],
      ];
    case "calibrate":
      return [
        ...["calibrate", path, "--text", join(texts, "calibration.txt"), "-o", output, "--force"],
        ...["--perplexity", "1%", "--max-windows", "2"],
      ];
  }
}

/** The least budget that works for these arguments, as the error says. @param {readonly string[]} args */
function smallestBudget(args) {
  const { stdout, stderr } = flashwick([...args, "--dram-budget", "1KiB", "--json"]);
  const { error } = JSON.parse(stdout || stderr);
  if (error?.code !== "BUDGET_TOO_SMALL") throw new Error(`no smallest budget: ${stdout}${stderr}`);
  return error.details.smallestBudgetBytes;
}

/** Six texts of different lengths at once, and then the end. @param {number} pid Of `flashwick bench memory`. */
async function askServer(pid) {
  const address = `http://127.0.0.1:${PORT}`;
  for (let tries = 0; ; tries++) {
    const isThere = await fetch(`${address}/v1/models`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (isThere) break;
    if (tries > 200) throw new Error("the server does not answer");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const asked = Array.from({ length: 6 }, (_, i) =>
    fetch(`${address}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "In the beginning ".repeat(1 + 3 * i), max_tokens: 24, temperature: 0 }),
    }).then((answer) => answer.status),
  );
  const bad = (await Promise.all(asked)).filter((status) => status !== 200);
  for (const child of childrenOf(pid)) process.kill(child, "SIGTERM");
  if (bad.length > 0) throw new Error(`${bad.length} requests failed: ${bad.join()}`);
}

/** @param {number} pid @returns {number[]} */
function childrenOf(pid) {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number),
  );
}

/** @param {import("./src/budgets/cases.mjs").BudgetCase} of */
async function runCase(of) {
  const path = modelFile(of.model);
  const args = argumentsOf(of, path);
  const budgetBytes =
    of.budget === "smallest"
      ? smallestBudget(args)
      : Math.max(Math.floor(of.budget * statSync(path).size), leastOf(of, args));
  const limitBytes = budgetBytes + OVERHEAD_BYTES + (of.readers + of.threads - 1 + of.workers) * THREAD_BYTES;
  const inGroup = [process.execPath, program, ...args, "--dram-budget", `${budgetBytes}`, "--json"];
  const child = spawn(process.execPath, [
    program,
    "bench",
    "memory",
    "--limit",
    `${limitBytes}`,
    "--json",
    "--",
    ...inGroup,
  ]);
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (output.stderr += text));
  const ended = new Promise((resolve) => child.on("close", resolve));
  let problem = "";
  if (of.command === "serve") await askServer(child.pid ?? 0).catch((error) => (problem = String(error.message)));
  await ended;
  const { status, killed, peakBytes, peakResidentBytes, peakSwapBytes } = JSON.parse(output.stdout);
  const isGood = status === 0 && killed === 0 && peakSwapBytes === 0 && problem === "";
  if (!isGood) process.stdout.write(`BAD: ${args.join(" ")}: ${problem}\n${output.stderr.slice(-2000)}\n`);
  return { budgetBytes, limitBytes, status, killed, peakBytes, peakResidentBytes, peakSwapBytes, isGood };
}

/** A share of a small file may be too little for its context. @param {import("./src/budgets/cases.mjs").BudgetCase} of @param {readonly string[]} args */
function leastOf(of, args) {
  return of.command === "run" ? smallestBudget(args) : 0;
}

const HEAD =
  "case,model,mode,prompt_tokens,threads,readers,budget,budget_bytes,limit_bytes,status,killed,peak_bytes,resident_bytes,swap_bytes,good,node";
const from = Number(flags.from);
if (from === 0 || !existsSync(flags.table)) writeFileSync(flags.table, `${HEAD}\n`);
let bad = 0;
for (const [i, of] of budgetCases().entries()) {
  if (i < from || !`${of.model} ${of.mode}`.includes(flags.only)) continue;
  if (Date.now() > untilMs) {
    process.stdout.write(`go on with --from ${i}\n`);
    break;
  }
  const run = await runCase(of);
  if (!run.isGood) bad++;
  const { model, mode, promptTokens, threads, readers, budget } = of;
  const row = [
    i,
    model,
    mode.replaceAll(",", ";"),
    promptTokens,
    threads,
    readers,
    budget,
    ...Object.values(run),
    process.version,
  ];
  appendFileSync(flags.table, `${row.join()}\n`);
  process.stdout.write(`${row.join()}\n`);
}
if (bad > 0) process.exitCode = 1;
