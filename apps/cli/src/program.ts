/** The command tree. */
import { Command } from "commander";
import { version } from "../package.json";
import { benchCommand } from "./commands/bench.js";
import { convertCommand } from "./commands/convert.js";
import { demoCommand } from "./commands/demo.js";
import { evalCommand } from "./commands/eval.js";
import { inspectCommand } from "./commands/inspect.js";
import { profileCommand } from "./commands/profile.js";
import { runCommand } from "./commands/run.js";
import { scoreCommand } from "./commands/score.js";
import { trainCommand } from "./commands/train.js";
import { verifyCommand } from "./commands/verify.js";
import type { Invocation } from "./invocation.js";

const COMMANDS = [
  demoCommand,
  convertCommand,
  inspectCommand,
  verifyCommand,
  trainCommand,
  runCommand,
  scoreCommand,
  evalCommand,
  profileCommand,
  benchCommand,
];

/** The whole program for one call. The parser never exits and never prints errors itself: it throws. */
export function createProgram(invocation: Invocation): Command {
  const { out, err } = invocation.terminal;
  const program = new Command("flashwick")
    .description("Runs language models larger than memory, from flash.")
    .version(version, "--version", "print the version")
    .helpOption("--help", "print this help")
    .helpCommand(false)
    .addHelpText("after", "\nExample:\n  flashwick demo\n\nflashwick <command> --help says more.");
  for (const command of COMMANDS) program.addCommand(command(invocation));
  const all = [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)];
  for (const command of all) {
    command.exitOverride().configureOutput({
      writeOut: (text) => out.write(text),
      // Help that nobody asked for; errors are printed by main.
      writeErr: (text) => err.write(text),
      outputError: () => {},
      getOutHelpWidth: () => Math.min(out.columns, 120),
      getErrHelpWidth: () => Math.min(err.columns, 120),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  }
  return program;
}
