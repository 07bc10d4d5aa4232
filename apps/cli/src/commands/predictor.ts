/** `flashwick predictor`: predictors trained elsewhere or side by side, brought in, joined and handed on. */
import type { Command } from "commander";
import { frameCommand } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { predictorExportCommand } from "./predictor-export.js";
import { predictorImportCommand } from "./predictor-import.js";
import { predictorMergeCommand } from "./predictor-merge.js";

export function predictorCommand(invocation: Invocation): Command {
  return (
    frameCommand({
      name: "predictor",
      summary: "Import predictors trained elsewhere, merge those of single layers, export to safetensors.",
      example: "flashwick predictor merge part-0.gguf part-1.gguf -o opt-6.7b.predictor.gguf",
    })
      .helpCommand(false)
      // What follows a subcommand is the subcommand's: --json among it.
      .enablePositionalOptions()
      .addCommand(predictorImportCommand(invocation))
      .addCommand(predictorMergeCommand(invocation))
      .addCommand(predictorExportCommand(invocation))
  );
}
