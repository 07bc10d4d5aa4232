/** `flashwick trace`: which neurons a text uses, recorded once, and what every cache would have made of it. */
import type { Command } from "commander";
import { frameCommand } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { traceHotCommand } from "./trace-hot.js";
import { traceMomentsCommand } from "./trace-moments.js";
import { traceRecordCommand } from "./trace-record.js";
import { traceSimulateCommand } from "./trace-simulate.js";

export function traceCommand(invocation: Invocation): Command {
  return (
    frameCommand({
      name: "trace",
      summary:
        "Record which neurons or experts a text uses, replay that through caches of any policy and size, keep what is hot.",
      example: "flashwick trace record opt-demo.gguf --text evaluation.txt -o opt-demo.trace",
    })
      .helpCommand(false)
      // What follows a subcommand is the subcommand's: --json among it.
      .enablePositionalOptions()
      .addCommand(traceRecordCommand(invocation))
      .addCommand(traceSimulateCommand(invocation))
      .addCommand(traceHotCommand(invocation))
      .addCommand(traceMomentsCommand(invocation))
  );
}
