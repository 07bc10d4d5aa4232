/** `flashwick predictor merge`: outputs of `train --layers` become one predictor. */
import { mergePredictors } from "@flashwick/runtime/train";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { predictorText, readPredictor, writePredictor } from "../predictor-output.js";
import type { CommonFlags, Report } from "../report.js";

interface MergeFlags extends CommonFlags {
  readonly output: string;
  readonly force?: boolean;
}

export function predictorMergeCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "merge",
    summary: "Join predictors that train --layers has made, each layer from the file that has trained it.",
    example: "flashwick predictor merge part-*.gguf -o opt-6.7b.predictor.gguf",
  })
    .argument("<file...>", "predictor files of one model")
    .requiredOption("-o, --output <file>", "predictor file to write, .gguf (no default)")
    .option("--force", "replace an existing file (default: off)")
    .action(async (paths: readonly string[], _, command: Command) => {
      const flags = command.optsWithGlobals<MergeFlags>();
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => run(paths, flags, report));
    });
}

async function run(paths: readonly string[], { output, force }: MergeFlags, report: Report): Promise<number> {
  const document = await writePredictor(output, force, async () => {
    const parts: Parameters<typeof mergePredictors>[0][number][] = [];
    for (const name of paths) parts.push({ name, predictor: await readPredictor(name) });
    return mergePredictors(parts);
  });
  report.result(document, () => predictorText(document));
  return 0;
}
