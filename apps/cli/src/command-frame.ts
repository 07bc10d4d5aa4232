/** What all commands share: the common flags, the form of the help, and how an action runs. */
import { Command } from "commander";
import { version } from "../package.json";
import { type CommonFlags, Report } from "./report.js";
import type { Terminal } from "./terminal.js";

export interface CommandDescription {
  readonly name: string;
  readonly summary: string;
  /** One command line that works. */
  readonly example: string;
}

/** A command with the flags that every command has. */
export function frameCommand({ name, summary, example }: CommandDescription): Command {
  return new Command(name)
    .description(summary)
    .option("--json", "print exactly one JSON document (default: text for a person)")
    .option("--quiet", "no progress, no notes (default: off)")
    .option("--debug", "with an error, print its stack (default: off)")
    .version(version, "--version", "print the version")
    .helpOption("--help", "print this help")
    .addHelpText("after", `\nExample:\n  ${example}`);
}

/**
 * Runs a command's work with its report, and takes the progress bar off the screen however it ends.
 *
 * @returns What `work` returns: an exit status, 0 if it returns nothing.
 */
export async function withReport(
  terminal: Terminal,
  flags: CommonFlags,
  work: (report: Report) => Promise<number | undefined>,
): Promise<number> {
  const report = new Report(terminal, flags);
  try {
    terminal.signal.throwIfAborted();
    return (await work(report)) ?? 0;
  } finally {
    report.close();
  }
}
