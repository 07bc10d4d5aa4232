/** `flashwick trace moments`: what FFNs see of a text, as second moments, for `convert --calibration`. */
import { formatBytes } from "@flashwick/core";
import { writeMomentsFile } from "@flashwick/flash-format";
import { fileSink } from "@flashwick/flash-format/node";
import { recordMoments } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { integer } from "../option-values.js";
import { checkOutput } from "../output-file.js";
import type { CommonFlags, Report } from "../report.js";
import { figure, table } from "../table.js";
import { readText } from "../text-file.js";
import { firstWindows } from "../text-windows.js";

interface MomentsFlags extends CommonFlags {
  readonly text: string;
  readonly output: string;
  readonly tokens: number;
  readonly windowTokens: number;
  readonly force?: boolean;
}

/** The document of `flashwick trace moments --json`. */
interface MomentsRecording {
  readonly file: string;
  readonly fingerprint: string;
  readonly tokens: number;
  readonly windows: number;
  readonly bytes: number;
  readonly seconds: number;
}

export function traceMomentsCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "moments",
    summary: "Record which inputs and neurons of a text go together, layer by layer: convert --calibration needs it.",
    example: "flashwick trace moments opt-demo.gguf --text calibration.txt -o opt-demo.moments.gguf",
  })
    .argument("<model.gguf>", "model file, with all its neurons")
    .requiredOption("--text <file>", "text to run, UTF-8 (no default)")
    .requiredOption("-o, --output <file>", "file of moments to write, .gguf (no default)")
    .option("--tokens <n>", "record at most n tokens, in whole windows", integer(2), 40_960)
    .option("--window-tokens <n>", "tokens of one sequence, BOS included", integer(2), 256)
    .option("--force", "replace an existing file (default: off)")
    .action(async (model: string, _, command: Command) => {
      const flags = command.optsWithGlobals<MomentsFlags>();
      const { terminal } = invocation;
      invocation.exitStatus = await withReport(terminal, flags, (report) => record(model, flags, report));
    });
}

async function record(path: string, flags: MomentsFlags, report: Report): Promise<number> {
  const { text, output, force = false } = flags;
  checkOutput(output, force);
  const { clock, signal } = report.terminal;
  const { onProgress } = report;
  const startMs = clock();
  const content = await readText(text);
  const model = await openModel(path, { mode: "dense", predictor: null, onProgress, signal });
  try {
    const windows = firstWindows(model, content, flags);
    const { header, layers } = await recordMoments(model, windows, { onProgress, signal });
    const sink = await fileSink(output, { force });
    const bytes = await writeMomentsFile(sink, header, layers);
    const document: MomentsRecording = {
      file: output,
      fingerprint: header.modelFingerprint,
      tokens: header.tokens,
      windows: windows.length,
      bytes,
      seconds: (clock() - startMs) / 1000,
    };
    report.result(document, () => recordingText(document));
    return 0;
  } finally {
    await model.close();
  }
}

function recordingText({ file, tokens, windows, bytes, seconds }: MomentsRecording): string {
  return table([
    ["file", `${file}, ${formatBytes(bytes)}`],
    ["tokens", `${tokens} in ${windows} windows`],
    ["took", `${figure(seconds)} s`],
  ]);
}
