/** The program as a function: arguments in, exit status out. */
import type { Command } from "commander";
import { describeFailure, printFailure } from "./failure.js";
import { GREETING } from "./greeting.js";
import type { Invocation } from "./invocation.js";
import { createProgram } from "./program.js";
import type { Terminal } from "./terminal.js";

/**
 * Runs one command line; an empty one is answered with what the program is and how to begin.
 *
 * @param argv Without the names of the interpreter and the program.
 * @returns 0; 1 for a failure, 2 for wrong usage, 130 after an abort. Never throws.
 */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  const invocation: Invocation = { terminal, exitStatus: 0 };
  if (argv.length === 0) {
    terminal.out.write(GREETING);
    return 0;
  }
  const program = await createProgram(invocation, argv[0]);
  try {
    await program.parseAsync([...argv], { from: "user" });
    return invocation.exitStatus;
  } catch (error) {
    const failure = describeFailure(error, terminal.signal);
    if (!failure) return 0;
    // The parser may have failed, so the flags are looked for by hand.
    const flags = { json: argv.includes("--json"), debug: argv.includes("--debug") };
    printFailure(failure, error, flags, `${calledName(program, argv)} --help`, terminal);
    return failure.exitStatus;
  }
}

/** As far as the words name commands: `flashwick bench read`. */
function calledName(program: Command, argv: readonly string[]): string {
  let called = program;
  let name = program.name();
  for (const word of argv) {
    const inner = called.commands.find((command) => command.name() === word);
    if (!inner) break;
    [called, name] = [inner, `${name} ${word}`];
  }
  return name;
}
