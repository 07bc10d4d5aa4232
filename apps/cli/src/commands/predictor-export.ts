/** `flashwick predictor export`: a predictor for other programs. */
import { formatBytes } from "@flashwick/core";
import { exportPredictor } from "@flashwick/runtime/train";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { checkOutput, writeOutput } from "../output-file.js";
import { readPredictor } from "../predictor-output.js";
import type { CommonFlags, Report } from "../report.js";
import { table } from "../table.js";

interface ExportFlags extends CommonFlags {
  readonly output: string;
  readonly force?: boolean;
}

export function predictorExportCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "export",
    summary: "Write a predictor as safetensors: blk.<l>.fc1.weight and fc2.weight, f32.",
    example: "flashwick predictor export opt-demo.predictor.gguf -o opt-demo.predictor.safetensors",
  })
    .argument("<file>", "predictor file")
    .requiredOption("-o, --output <file>", "safetensors file to write (no default)")
    .option("--force", "replace an existing file (default: off)")
    .action(async (path: string, _, command: Command) => {
      const flags = command.optsWithGlobals<ExportFlags>();
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => run(path, flags, report));
    });
}

async function run(path: string, { output, force }: ExportFlags, report: Report): Promise<number> {
  checkOutput(output, force);
  const { layers, modelFingerprint: fingerprint, ...predictor } = await readPredictor(path);
  const file = exportPredictor({ ...predictor, layers, modelFingerprint: fingerprint });
  await writeOutput(output, file);
  const document = { file: output, bytes: file.length, layers: layers.length, fingerprint };
  report.result(document, () => table([["file", `${output}, ${formatBytes(file.length)}, ${layers.length} layers`]]));
  return 0;
}
