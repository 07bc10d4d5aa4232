/** `flashwick predictor import`: matrices trained elsewhere become a predictor file with measured thresholds. */
import { readTensorFile } from "@flashwick/flash-format/convert";
import { fileSource } from "@flashwick/flash-format/node";
import { PREDICTOR_DTYPES, type PredictorDType } from "@flashwick/predictor";
import { importPredictor, openTrainingModel, type PredictorWeightFile } from "@flashwick/runtime/train";
import { type Command, Option } from "commander";
import type { ByteSize } from "../byte-size.js";
import { frameCommand, withReport } from "../command-frame.js";
import { budgetBytes } from "../engine-flags.js";
import type { Invocation } from "../invocation.js";
import { byteSize, integer, number } from "../option-values.js";
import { predictorText, writePredictor } from "../predictor-output.js";
import type { CommonFlags, Report } from "../report.js";
import { readText } from "../text-file.js";

interface ImportFlags extends CommonFlags {
  readonly from: readonly string[];
  readonly text: string;
  readonly output: string;
  readonly dtype: PredictorDType;
  readonly namedPerActive?: number;
  readonly maxWindows: number;
  readonly dramBudget?: ByteSize;
  readonly force?: boolean;
}

export function predictorImportCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "import",
    summary: "Make a predictor file from fc1.weight and fc2.weight of each layer, as PowerInfer and Deja Vu have them.",
    example: "flashwick predictor import opt.gguf --from model_*.pt --text calibration.txt -o opt.predictor.gguf",
  })
    .argument("<model.gguf>", "model file that they belong to")
    .requiredOption(
      "--from <file...>",
      "safetensors or PyTorch files: one a layer (model_0.pt …), or all in one (no default)",
    )
    .requiredOption("--text <file>", "text to set thresholds on, UTF-8 (no default)")
    .requiredOption("-o, --output <file>", "predictor file to write, .gguf (no default)")
    .addOption(new Option("--dtype <type>", "how weights are stored").choices(PREDICTOR_DTYPES).default("int8"))
    .option("--named-per-active <x>", "neurons named over neurons truly active (default: 2.2)", number(1))
    .option("--max-windows <n>", "measure on at most the first n windows of 256 tokens", integer(1), 64)
    .option(
      "--dram-budget <size>",
      "ceiling of DRAM of the whole import (default: what the machine has free, less 512 MiB)",
      byteSize,
    )
    .option("--force", "replace an existing file (default: off)")
    .action(async (model: string, _, command: Command) => {
      const flags = command.optsWithGlobals<ImportFlags>();
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => run(model, flags, report));
    });
}

async function run(path: string, flags: ImportFlags, report: Report): Promise<number> {
  const document = await writePredictor(flags.output, flags.force, async () => {
    const text = await readText(flags.text);
    const { onProgress } = report;
    const { signal } = report.terminal;
    const budget = flags.dramBudget && (await budgetBytes(path, flags.dramBudget));
    const { model, dramBudgetBytes } = await openTrainingModel(path, { dramBudgetBytes: budget, onProgress, signal });
    try {
      return await withFiles(flags.from, (files) => {
        const { dtype, namedPerActive, maxWindows } = flags;
        const ratio = namedPerActive === undefined ? {} : { namedPerActive };
        return importPredictor(model, files, {
          ...{ text, dtype, ...ratio, maxWindows, dramBudgetBytes, onProgress, signal },
        });
      });
    } finally {
      await model.close();
    }
  });
  report.result(document, () => predictorText(document));
  return 0;
}

async function withFiles<T>(
  paths: readonly string[],
  use: (files: readonly PredictorWeightFile[]) => Promise<T>,
): Promise<T> {
  const sources: Awaited<ReturnType<typeof fileSource>>[] = [];
  try {
    const files: PredictorWeightFile[] = [];
    for (const name of paths) {
      const source = await fileSource(name);
      sources.push(source);
      files.push({ name, tensors: await readTensorFile(source) });
    }
    return await use(files);
  } finally {
    for (const source of sources) await source.close();
  }
}
