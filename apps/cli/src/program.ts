/** The command tree. A command's module is loaded when it is asked for: one that only plans need not wait for an engine to load. */
import { Command } from "commander";
import { version } from "../package.json";
import type { Invocation } from "./invocation.js";

type MakeCommand = (invocation: Invocation) => Command;

const COMMANDS: Readonly<Record<string, () => Promise<MakeCommand>>> = {
  demo: async () => (await import("./commands/demo.js")).demoCommand,
  pull: async () => (await import("./commands/pull.js")).pullCommand,
  convert: async () => (await import("./commands/convert.js")).convertCommand,
  inspect: async () => (await import("./commands/inspect.js")).inspectCommand,
  verify: async () => (await import("./commands/verify.js")).verifyCommand,
  train: async () => (await import("./commands/train.js")).trainCommand,
  predictor: async () => (await import("./commands/predictor.js")).predictorCommand,
  calibrate: async () => (await import("./commands/calibrate.js")).calibrateCommand,
  run: async () => (await import("./commands/run.js")).runCommand,
  chat: async () => (await import("./commands/chat.js")).chatCommand,
  serve: async () => (await import("./commands/serve.js")).serveCommand,
  score: async () => (await import("./commands/score.js")).scoreCommand,
  tokenize: async () => (await import("./commands/tokenize.js")).tokenizeCommand,
  eval: async () => (await import("./commands/eval.js")).evalCommand,
  profile: async () => (await import("./commands/profile.js")).profileCommand,
  plan: async () => (await import("./commands/plan.js")).planCommand,
  trace: async () => (await import("./commands/trace.js")).traceCommand,
  bench: async () => (await import("./commands/bench.js")).benchCommand,
  doctor: async () => (await import("./commands/doctor.js")).doctorCommand,
};

/**
 * The program for one call. The parser never exits and never prints errors itself: it throws.
 *
 * @param wanted The command that is called, if that is known: the others are left out then.
 */
export async function createProgram(invocation: Invocation, wanted?: string): Promise<Command> {
  const { out, err } = invocation.terminal;
  const program = new Command("flashwick")
    .description("Runs language models larger than memory, from flash.")
    .version(version, "--version", "print the version")
    .helpOption("--help", "print this help")
    .helpCommand(false)
    .addHelpText("after", "\nExample:\n  flashwick demo\n\nflashwick <command> --help says more.");
  const only = wanted === undefined ? undefined : COMMANDS[wanted];
  for (const load of only ? [only] : Object.values(COMMANDS)) program.addCommand((await load())(invocation));
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
