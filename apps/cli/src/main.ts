/** The program as a function: arguments in, exit status out. */
import { describeFailure, printFailure } from "./failure.js";
import type { Invocation } from "./invocation.js";
import { createProgram } from "./program.js";
import type { Terminal } from "./terminal.js";

/**
 * Runs one command line.
 *
 * @param argv Without the names of the interpreter and the program.
 * @returns 0; 1 for a failure, 2 for wrong usage, 130 after an abort. Never throws.
 */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  const invocation: Invocation = { terminal, exitStatus: 0 };
  try {
    const program = await createProgram(invocation, argv[0]);
    await program.parseAsync([...argv], { from: "user" });
    return invocation.exitStatus;
  } catch (error) {
    const failure = describeFailure(error, terminal.signal);
    if (!failure) return 0;
    // The parser may have failed, so the flags are looked for by hand.
    const flags = { json: argv.includes("--json"), debug: argv.includes("--debug") };
    printFailure(failure, error, flags, terminal);
    return failure.exitStatus;
  }
}
