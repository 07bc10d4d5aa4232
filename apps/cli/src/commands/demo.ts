/** `flashwick demo`: the bundled model within half its file, in one command. */

import { constants, copyFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { formatBytes, unitName } from "@flashwick/core";
import { demoModels } from "@flashwick/demo-models";
import { sidecarPath } from "@flashwick/flash-format";
import { openModel } from "@flashwick/runtime/node";
import { type Command, Option } from "commander";
import { type ByteSize, resolveByteSize } from "../byte-size.js";
import { frameCommand, withReport } from "../command-frame.js";
import { convertToFile } from "../conversion.js";
import { runGeneration } from "../generation.js";
import type { Invocation } from "../invocation.js";
import { byteSize, integer, number } from "../option-values.js";
import type { CommonFlags, Report } from "../report.js";
import { runTable } from "../run-report.js";
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

export function demoCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "demo",
    summary: "Run the bundled demo model within half its size: converts it on the first call.",
    example: 'flashwick demo --budget 40% --prompt "And the whale"',
  })
    .option("--dir <folder>", "where the model file is put", "models")
    .addOption(
      new Option("--budget <size>", "ceiling of DRAM: bytes, KiB, MiB, GiB, or % of the model file")
        .argParser(byteSize)
        .default({ kind: "share", percent: 50 } satisfies ByteSize, "50%"),
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
    const { signal, clock, out } = terminal;
    const { onProgress } = report;
    const model = await openModel(modelPath, { dramBudgetBytes, predictor: predictorPath, onProgress, signal });
    try {
      const { prompt, maxTokens, temperature, seed } = flags;
      const sampling = { maxTokens, temperature, seed, topK: 40, signal, onProgress };
      // The prompt waits for the first token: a progress bar on the same line would wipe it out.
      let opening = `${heading(report, modelPath, fileBytes, dramBudgetBytes)}\n\n${dim(terminal, out, prompt)}`;
      const tokens = model.tokenizer.encode(prompt, true);
      const result = await runGeneration(model, tokens, sampling, clock, ({ text }) => {
        if (!report.json) report.stream(opening + text);
        opening = "";
      });
      const document = { model: modelPath, predictor: predictorPath, fileBytes, prompt, ...result };
      report.result(document, () => `\n\n${runTable(result.stats, unitName(model.header.geometry))}`);
      return result.finishReason === "aborted" ? 130 : 0;
    } finally {
      await model.close();
    }
  });
}

function heading({ terminal }: Report, path: string, fileBytes: number, budgetBytes: number): string {
  const title = `${path}: ${formatBytes(fileBytes)} on flash, at most ${formatBytes(budgetBytes)} in DRAM`;
  return bold(terminal, terminal.out, title);
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
    await copyWhole(demoModel.predictorPath, predictorPath);
  }
  if (await exists(predictorPath)) return { modelPath, predictorPath };
  report.note(
    "note: the demo model has no predictor here, so this run is dense: it streams every layer for every token",
  );
  return { modelPath, predictorPath: null };
}

/** Never leaves half a file under the final name. */
async function copyWhole(from: string, to: string): Promise<void> {
  const partial = `${to}.partial`;
  try {
    await copyFile(from, partial, constants.COPYFILE_FICLONE);
    await rename(partial, to);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
