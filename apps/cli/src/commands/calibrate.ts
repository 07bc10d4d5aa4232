/** `flashwick calibrate`: thresholds, and of several predictors the best of each layer, by a stated target. */
import { formatBytes, type Predictor } from "@flashwick/core";
import { openModelFile, readPredictorFile, sidecarPath, writePredictorFile } from "@flashwick/flash-format";
import { fileSink, fileSource } from "@flashwick/flash-format/node";
import { checkPredictor, predictorBytes } from "@flashwick/predictor";
import { kernelsOf } from "@flashwick/runtime/node";
import { type CalibrationResult, calibratePredictor, openTrainingModel } from "@flashwick/runtime/train";
import { type Command, Option } from "commander";
import type { ByteSize } from "../byte-size.js";
import { frameCommand, withReport } from "../command-frame.js";
import { budgetBytes } from "../engine-flags.js";
import { UsageError } from "../failure.js";
import type { Invocation } from "../invocation.js";
import { byteSize, integer, number, share } from "../option-values.js";
import { type DescribedLayer, describeLayer } from "../predictor-output.js";
import type { Report } from "../report.js";
import { figure, percent, table } from "../table.js";
import { readText } from "../text-file.js";
import { CALIBRATED_METHODS, calibratePruning, type PruningFlags } from "./calibrate-pruning.js";

interface CalibrateFlags extends PruningFlags {
  readonly predictor?: readonly string[];
  readonly perplexity?: number;
  readonly agreement?: number;
  readonly shareBytes?: number;
  readonly cost: "named" | "bytes";
  readonly runBudget?: ByteSize;
  readonly window?: number;
  readonly maxWindows: number;
  readonly layerReport?: boolean;
}

export function calibrateCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "calibrate",
    summary:
      "Set a predictor's thresholds so that a text keeps its quality, with the fewest neurons named; or write a pruning plan of a model without zeros.",
    example:
      "flashwick calibrate opt-demo.gguf --text calibration.txt --perplexity 0.1% -o opt-demo.calibrated.predictor.gguf",
  })
    .argument("<model.gguf>", "model file")
    .requiredOption("--text <file>", "text to calibrate on, which no predictor was trained on, UTF-8 (no default)")
    .requiredOption("-o, --output <file>", "predictor file to write, .gguf; or the plan, .json (no default)")
    .option(
      "--predictor <file...>",
      "predictors; of several, each layer takes the one whose bytes are worth it (default: <model>.predictor.gguf)",
    )
    .option(
      "--perplexity <rise>",
      "target: perplexity over the dense one's, minus 1, at most: 0.1% or 0.001 (default: 0.5%, without --agreement)",
      share,
    )
    .option(
      "--agreement <share>",
      "target: positions whose likeliest token is the dense one's, at least: 99% (default: none)",
      share,
    )
    .addOption(
      new Option(
        "--pruning <method>",
        "write a plan of what each layer's FFN leaves out, for --pruning of run, score, eval and chat, instead of a predictor (default: off)",
      )
        .choices(CALIBRATED_METHODS)
        .conflicts(["predictor", "perplexity", "agreement"]),
    )
    .option("--kl <nat>", "with --pruning, target: KL from the dense model, at most (default: 0.05)", number(0))
    .option("--share-bytes <x>", "bytes of the predictor over the model's in f16, at most (default: any)", number(0, 1))
    .addOption(
      new Option(
        "--cost <what>",
        "what is to be few: neurons named, or bytes that are likely to be read within --run-budget",
      )
        .choices(["named", "bytes"])
        .default("named"),
    )
    .option(
      "--dram-budget <size>",
      "ceiling of DRAM of the whole calibration (default: what the machine has free, less 512 MiB)",
      byteSize,
    )
    .option(
      "--run-budget <size>",
      "with --cost bytes: ceiling of DRAM that the model will be run within (default: --dram-budget, else none)",
      byteSize,
    )
    .option("--window <n>", "with --cost bytes: neurons of the last n tokens stay (default: as fit)", integer(1))
    .option("--max-windows <n>", "judge on at most the first n windows of 256 tokens", integer(1), 64)
    .option("--layer-report", "also run the text with each layer sparse alone: which layers hurt (default: off)")
    .option("--force", "replace an existing file (default: off)")
    .action(async (model: string, flags: CalibrateFlags) => {
      invocation.exitStatus = await calibrate(invocation, model, flags);
    });
}

/** The document of `flashwick calibrate --json`. */
interface Calibration extends Omit<CalibrationResult, "predictor" | "riseByLayer"> {
  readonly layers: readonly (DescribedLayer & { readonly riseAlone: number | null })[];
  readonly predictorBytes: number;
  readonly seconds: number;
}

function calibrate({ terminal }: Invocation, modelPath: string, flags: CalibrateFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const startMs = terminal.clock();
    const text = await readText(flags.text);
    if (flags.kl !== undefined && !flags.pruning)
      throw new UsageError("--kl is the target of --pruning, which is missing");
    if (flags.pruning) {
      await calibratePruning(modelPath, text, flags, report);
      return undefined;
    }
    const sink = await fileSink(flags.output, { force: flags.force ?? false });
    try {
      const { predictor, riseByLayer, ...result } = await chooseThresholds(modelPath, text, flags, report);
      terminal.signal.throwIfAborted();
      // Whoever wanted a target wants no file that misses it.
      if (result.met) await writePredictorFile(sink, predictor);
      else await sink.abandon();
      const document: Calibration = {
        ...result,
        layers: predictor.layers.map((layer, l) => ({
          ...describeLayer(layer),
          riseAlone: riseByLayer?.[l] ?? null,
        })),
        predictorBytes: predictor.layers.reduce((sum, layer) => sum + predictorBytes(layer), 0),
        seconds: (terminal.clock() - startMs) / 1000,
      };
      report.result(document, () => calibrationText(flags.output, document));
      return document.met ? 0 : 1;
    } catch (error) {
      await sink.abandon();
      throw error;
    }
  });
}

async function chooseThresholds(
  modelPath: string,
  text: string,
  flags: CalibrateFlags,
  report: Report,
): Promise<CalibrationResult> {
  const { perplexity, agreement, cost, shareBytes, window, maxWindows, layerReport = false } = flags;
  const isNone = perplexity === undefined && agreement === undefined;
  const given = flags.dramBudget && (await budgetBytes(modelPath, flags.dramBudget));
  const { onProgress } = report;
  const { model, dramBudgetBytes } = await openTrainingModel(modelPath, { dramBudgetBytes: given, onProgress });
  try {
    const runBudget = flags.runBudget ? await budgetBytes(modelPath, flags.runBudget) : given;
    return await calibratePredictor(model, {
      predictors: await readPredictors(modelPath, flags),
      text,
      target: { perplexityRise: isNone ? DEFAULT_RISE : perplexity, top1Agreement: agreement },
      maxWindows,
      shareBytes,
      cost,
      engine: { dramBudgetBytes: runBudget, windowTokens: window },
      dramBudgetBytes,
      layerReport,
      kernels: kernelsOf("auto").kernels,
      onProgress,
      signal: report.terminal.signal,
    });
  } finally {
    await model.close();
  }
}

const DEFAULT_RISE = 0.005;

/** All of them, and each of this model. */
async function readPredictors(modelPath: string, { predictor }: CalibrateFlags): Promise<Predictor[]> {
  const source = await fileSource(modelPath);
  const { header } = await openModelFile(source).finally(() => source.close());
  const predictors: Predictor[] = [];
  for (const path of predictor ?? [sidecarPath(modelPath)]) {
    const file = await fileSource(path);
    try {
      const one = await readPredictorFile(file);
      checkPredictor(one, header);
      predictors.push(one);
    } finally {
      await file.close();
    }
  }
  return predictors;
}

function calibrationText(output: string, result: Calibration): string {
  const facts = table([
    result.met
      ? ["file", output]
      : ["file", "none written: the target is out of reach; train wider predictors, or ask for less"],
    ["perplexity", `${result.perplexityRise < 0 ? "−" : "+"}${percent(Math.abs(result.perplexityRise))} over dense`],
    ["agreement", `${percent(result.top1Agreement)} of the likeliest tokens, KL ${figure(result.meanKl)} mean (nats)`],
    ["named", `${figure(result.namedPerActive)} times the truly active neurons, at most`],
    ["weights", `${formatBytes(result.predictorBytes)}, ${percent(result.byteShare)} of the model's in f16`],
    ["runs", result.steps.length],
    ["took", `${figure(result.seconds)} s`],
  ]);
  const report = result.layers.some(({ riseAlone }) => riseAlone !== null);
  const layers = table([
    [
      "layer",
      "from",
      "rank",
      "type",
      "threshold",
      "active",
      "named",
      "recall",
      "missed mass",
      ...(report ? ["alone"] : []),
    ],
    ...result.layers.map((layer, l) => [
      layer.layer,
      result.chosen[l]!,
      layer.rank,
      layer.dtype,
      figure(layer.threshold),
      percent(layer.trueActiveShare),
      percent(layer.namedShare),
      percent(layer.recall),
      percent(layer.missedMass),
      ...(layer.riseAlone === null ? [] : [`${layer.riseAlone < 0 ? "−" : "+"}${percent(Math.abs(layer.riseAlone))}`]),
    ]),
  ]);
  return `${facts}\n\n${layers}`;
}
