/** `flashwick trace record`: a text's neurons, or experts, token after token, as a file. */
import { formatBytes, hasExperts, unitGrid } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { recordTrace } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import { type Command, Option } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { integer, threshold } from "../option-values.js";
import { checkOutput, writeOutput } from "../output-file.js";
import type { CommonFlags, Report } from "../report.js";
import { figure, table } from "../table.js";
import { readText } from "../text-file.js";
import { firstWindows } from "../text-windows.js";

interface RecordFlags extends CommonFlags {
  readonly text: string;
  readonly output: string;
  readonly predictor?: string;
  readonly oracle?: boolean;
  readonly threshold?: number;
  readonly tokens: number;
  readonly windowTokens: number;
  readonly force?: boolean;
}

/** The document of `flashwick trace record --json`. */
interface Recording {
  readonly file: string;
  readonly of: "named" | "active" | "chosen";
  readonly nLayers: number;
  readonly dFf: number;
  readonly tokens: number;
  readonly windows: number;
  readonly neuronsPerToken: number;
  readonly bytes: number;
  readonly seconds: number;
}

export function traceRecordCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "record",
    summary: "Record which neurons, or experts of a mixture, each token of a text uses, layer by layer.",
    example: "flashwick trace record opt-demo.gguf --text evaluation.txt -o opt-demo.trace",
  })
    .argument("<model.gguf>", "model file")
    .requiredOption("--text <file>", "text to run, UTF-8 (no default)")
    .requiredOption("-o, --output <file>", "trace to write (no default)")
    .addOption(new Option("--predictor <file>", "predictor file (default: <model>.predictor.gguf)").conflicts("oracle"))
    .option("--oracle", "record the truly active neurons, not those that a predictor names (default: off)")
    .option(
      "--threshold <x>",
      "a neuron is named when its score, a logit, exceeds x (default: calibrated, by layer)",
      threshold,
    )
    .option("--tokens <n>", "record at most n tokens, in whole windows", integer(2), 4096)
    .option("--window-tokens <n>", "tokens of one sequence, BOS included", integer(2), 256)
    .option("--force", "replace an existing file (default: off)")
    .action(async (model: string, _, command: Command) => {
      const flags = command.optsWithGlobals<RecordFlags>();
      const { terminal } = invocation;
      invocation.exitStatus = await withReport(terminal, flags, (report) => record(model, flags, report));
    });
}

async function record(path: string, flags: RecordFlags, report: Report): Promise<number> {
  checkOutput(flags.output, flags.force);
  const { clock, signal } = report.terminal;
  const startMs = clock();
  const text = await readText(flags.text);
  const source = await fileSource(path);
  const { header } = await openModelFile(source).finally(() => source.close());
  const isMixture = hasExperts(header.geometry);
  const model = await openModel(path, {
    ...(flags.oracle || isMixture
      ? ({ mode: "dense", predictor: null } as const)
      : ({ mode: "predicted", predictor: flags.predictor ?? "auto", threshold: flags.threshold } as const)),
    onProgress: report.onProgress,
    signal,
  });
  try {
    const { nLayers, dFf } = unitGrid(model.header.geometry);
    const windows = firstWindows(model, text, flags);
    const { bytes, tokens, neuronsPerToken } = await recordTrace(model, windows, {
      onProgress: report.onProgress,
      signal,
    });
    await writeOutput(flags.output, bytes);
    const document: Recording = {
      file: flags.output,
      of: isMixture ? "chosen" : flags.oracle ? "active" : "named",
      nLayers,
      dFf,
      tokens,
      windows: windows.length,
      neuronsPerToken,
      bytes: bytes.length,
      seconds: (clock() - startMs) / 1000,
    };
    report.result(document, () => recordingText(document));
    return 0;
  } finally {
    await model.close();
  }
}

function recordingText({
  file,
  of,
  nLayers,
  dFf,
  tokens,
  windows,
  neuronsPerToken,
  bytes,
  seconds,
}: Recording): string {
  return table([
    ["file", `${file}, ${formatBytes(bytes)}`],
    ["tokens", `${tokens} in ${windows} windows`],
    [
      of,
      `${figure(neuronsPerToken)} ${of === "chosen" ? "experts" : "neurons"} a token, of ${nLayers} layers of ${dFf}`,
    ],
    ["took", `${figure(seconds)} s`],
  ]);
}
