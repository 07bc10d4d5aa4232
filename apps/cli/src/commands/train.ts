/** `flashwick train`: learn the sparsity predictors of a model. */
import { mkdir, readdir, rename, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { formatBytes, IoError, type PredictorLayer, type PredictorQuality } from "@flashwick/core";
import { writePredictorFile } from "@flashwick/flash-format";
import { fileSink } from "@flashwick/flash-format/node";
import { PREDICTOR_DTYPES, type PredictorDType, predictorBytes } from "@flashwick/predictor";
import { type TrainPredictorsResult, trainPredictors } from "@flashwick/runtime/train";
import { type Command, Option } from "commander";
import type { ByteSize } from "../byte-size.js";
import { frameCommand, withReport } from "../command-frame.js";
import { budgetBytes } from "../engine-flags.js";
import type { Invocation } from "../invocation.js";
import { byteSize, integer, layerRange, number, orAuto } from "../option-values.js";
import { describeLayer } from "../predictor-output.js";
import { qualityTable } from "../quality-table.js";
import type { CommonFlags, Report } from "../report.js";
import { figure, percent, table } from "../table.js";
import { readText } from "../text-file.js";

interface TrainFlags extends CommonFlags {
  readonly text: readonly string[];
  readonly output: string;
  readonly tokens?: number;
  readonly rank: "auto" | number;
  readonly dtype: "auto" | PredictorDType;
  readonly shareBytes?: number;
  readonly namedPerActive?: number;
  readonly epochs?: number;
  readonly seed: number;
  readonly evalText?: string;
  readonly resume?: boolean;
  readonly layers?: { readonly first: number; readonly last: number };
  readonly workers?: number;
  readonly dramBudget?: ByteSize;
  readonly force?: boolean;
}

export function trainCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "train",
    summary: "Train the predictors of a model on texts, and measure them on held-out tokens.",
    example: "flashwick train opt-demo.gguf --text train.txt --eval-text calibration.txt -o opt-demo.predictor.gguf",
  })
    .argument("<model.gguf>", "model file")
    .requiredOption("--text <file...>", "texts to train on, UTF-8 (no default)")
    .requiredOption("-o, --output <file>", "predictor file to write, .gguf (no default)")
    .option("--tokens <n>", "train on at most n tokens (default: 200000)", integer(1))
    .option("--rank <n>", "width of the predictors, or auto: chosen by layer", orAuto(integer(1)), "auto")
    .addOption(
      new Option("--dtype <type>", "how weights are stored, or auto: with rank auto int8 or q4_0 by layer, else int8")
        .choices(["auto", ...PREDICTOR_DTYPES])
        .default("auto"),
    )
    .option(
      "--share-bytes <x>",
      "with rank auto: bytes of the predictors as a share of the model's in f16 (default: 0.03)",
      number(0, 1),
    )
    .option("--named-per-active <x>", "neurons named over neurons truly active (default: 2.2)", number(0))
    .option("--epochs <n>", "passes over the training tokens (default: 4)", integer(1))
    .option("--seed <n>", "seed of the random numbers", integer(0), 0)
    .option(
      "--eval-text <file>",
      "held-out text for thresholds and figures (default: a twentieth of the training texts)",
    )
    .option("--resume", "go on from where an interrupted training of the same output stopped (default: off)")
    .option("--workers <n>", "worker threads; 0 uses none (default: one per core)", integer(0))
    .option(
      "--dram-budget <size>",
      "ceiling of DRAM of the whole training, all workers together (default: what the machine has free, less 512 MiB)",
      byteSize,
    )
    .option(
      "--layers <a-b>",
      "train only these layers, counted from 0; the others name every neuron (default: all)",
      layerRange,
    )
    .option("--force", "replace an existing file, and drop the progress of an interrupted training (default: off)")
    .action(async (model: string, flags: TrainFlags) => {
      invocation.exitStatus = await train(invocation, model, flags);
    });
}

/** The document of `flashwick train --json`. */
interface Training {
  readonly layers: readonly (PredictorQuality & { readonly dtype: string })[];
  readonly trainTokens: number;
  readonly evalTokens: number;
  readonly predictorBytes: number;
  /** Of the model's weights in f16. */
  readonly byteShare: number;
  readonly seconds: number;
  readonly fingerprint: string;
}

function train({ terminal }: Invocation, modelPath: string, flags: TrainFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const startMs = terminal.clock();
    const { predictor, trainTokens, evalTokens, byteShare } = await trainToFile(modelPath, flags, report);
    const document: Training = {
      layers: predictor.layers.filter((layer) => isTrained(layer, flags)).map(describeLayer),
      trainTokens,
      evalTokens,
      predictorBytes: predictor.layers.reduce((sum, layer) => sum + predictorBytes(layer), 0),
      byteShare,
      seconds: (terminal.clock() - startMs) / 1000,
      fingerprint: predictor.modelFingerprint,
    };
    report.result(document, () => trainingText(flags.output, document));
    return undefined;
  });
}

async function trainToFile(modelPath: string, flags: TrainFlags, report: Report): Promise<TrainPredictorsResult> {
  const { signal } = report.terminal;
  const { tokens, rank, dtype, shareBytes, namedPerActive, epochs, seed, layers, workers } = flags;
  const texts = await Promise.all(flags.text.map(readText));
  const evalText = flags.evalText === undefined ? null : await readText(flags.evalText);
  // A training that was killed in its last step has left it, beside a whole output.
  await guarded(flags.output, () => rm(droppedPath(progressPath(flags.output)), { recursive: true, force: true }));
  // Opened first: an existing output is refused before the hours of training, not after.
  const sink = await fileSink(flags.output, { force: flags.force ?? false });
  try {
    // What an interrupted run may have left under the temporary name.
    await sink.journal.clear();
    const resumeDir = await progressFolder(flags);
    const dramBudgetBytes = flags.dramBudget && (await budgetBytes(modelPath, flags.dramBudget));
    const size = { rank, dtype, shareBytes };
    const wish = { texts, evalText, tokens, ...size, namedPerActive, epochs, seed, layers, workers, resumeDir };
    const result = await trainPredictors(modelPath, {
      ...wish,
      dramBudgetBytes,
      onProgress: report.onProgress,
      signal,
    }).catch(async (error) => {
      await noteProgress(resumeDir, report);
      throw error;
    });
    signal.throwIfAborted();
    await writePredictorFile(sink, result.predictor);
    await dropProgress(resumeDir);
    return result;
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}

/**
 * Samples and states of a training under way lie beside its output, on the same device: they are large.
 *
 * @throws {IoError} `IO_EXISTS` for those of an interrupted training that are neither wanted nor given up.
 */
async function progressFolder({ output, resume = false, force = false }: TrainFlags): Promise<string> {
  const folder = progressPath(output);
  if (!resume) {
    if (!force) await refuseProgress(folder);
    await dropProgress(folder);
  }
  await guarded(folder, () => mkdir(folder, { recursive: true }));
  return folder;
}

function progressPath(output: string): string {
  return join(dirname(output), `.${basename(output)}.training`);
}

/** Under another name first: what is half removed must not be taken for samples that a training can go on from. */
async function dropProgress(folder: string): Promise<void> {
  await guarded(folder, async () => {
    await rm(droppedPath(folder), { recursive: true, force: true });
    await rename(folder, droppedPath(folder)).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== "ENOENT") throw cause;
    });
    await rm(droppedPath(folder), { recursive: true, force: true });
  });
}

function droppedPath(folder: string): string {
  return `${folder}.dropped`;
}

async function guarded(path: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (cause) {
    const message = `${path}: the folder of samples cannot be made or removed (${(cause as Error).message}); check the device and its permissions, or name another output`;
    throw new IoError("IO_WRITE", message, { cause, details: { path } });
  }
}

async function refuseProgress(folder: string): Promise<void> {
  const found = await readdir(folder).catch(() => []);
  if (found.length === 0) return;
  throw new IoError(
    "IO_EXISTS",
    `${folder}: expected no samples of an interrupted training, found ${found.length} files; continue from them with --resume, or drop them with --force`,
    { details: { path: folder } },
  );
}

async function noteProgress(folder: string, report: Report): Promise<void> {
  // Nothing was done yet if it is empty; a folder that is not empty cannot be removed this way.
  const isEmpty = await rmdir(folder).then(
    () => true,
    () => false,
  );
  if (!isEmpty) report.note(`note: progress is kept in ${folder}; --resume continues from it`);
}

function isTrained({ layer }: PredictorLayer, { layers }: TrainFlags): boolean {
  return layers === undefined || (layer >= layers.first && layer <= layers.last);
}

function trainingText(output: string, { layers, ...facts }: Training): string {
  const summary = table([
    ["file", output],
    ["predictor of", facts.fingerprint],
    ["weights", `${formatBytes(facts.predictorBytes)}, ${percent(facts.byteShare)} of the model's in f16`],
    ["trained on", `${facts.trainTokens} tokens, measured on ${facts.evalTokens}`],
    ["took", `${figure(facts.seconds)} s`],
  ]);
  return `${summary}\n\n${qualityTable(layers)}`;
}
