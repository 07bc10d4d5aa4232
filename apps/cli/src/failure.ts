/**
 * From an error to what the user sees and the exit status: 0 for help, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C.
 */
import { isFlashwickError } from "@flashwick/core";
import { CommanderError } from "commander";
import type { Terminal } from "./terminal.js";

/** Flags that contradict each other, or one that is missing. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** As those of a `FlashwickError`. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.details = details;
  }
}

export interface Failure {
  readonly exitStatus: 1 | 2 | 130;
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** Null if the "error" is only how the parser ends after printing help or version. */
export function describeFailure(error: unknown, signal: AbortSignal): Failure | null {
  if (signal.aborted && (error === signal.reason || (error as Error)?.name === "AbortError")) {
    return { exitStatus: 130, code: "ABORTED", message: "interrupted", details: {} };
  }
  if (error instanceof CommanderError) return describeParserError(error);
  if (error instanceof UsageError) {
    return { exitStatus: 2, code: "USAGE", message: error.message, details: error.details };
  }
  if (isFlashwickError(error)) {
    return { exitStatus: 1, code: error.code, message: error.message, details: error.details };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { exitStatus: 1, code: "UNEXPECTED", message, details: {} };
}

function describeParserError({ code, exitCode, message }: CommanderError): Failure | null {
  if (exitCode === 0) return null;
  const text =
    code === "commander.help" ? "expected a command; flashwick --help lists them" : message.replace(/^error: /, "");
  return { exitStatus: 2, code: "USAGE", message: text, details: {} };
}

/**
 * Prints a failure: one JSON document on standard output, or a message on standard error. A stack only with `--debug`.
 *
 * @param helpCommand What explains the command; named where it was used in a wrong way.
 */
export function printFailure(
  failure: Failure,
  error: unknown,
  flags: { readonly json: boolean; readonly debug: boolean },
  helpCommand: string,
  { out, err }: Terminal,
): void {
  const { code, message, details } = failure;
  if (flags.json) out.write(`${JSON.stringify({ error: { code, message, details } })}\n`);
  if (!flags.json || failure.exitStatus === 2) err.write(`flashwick: ${message}\n`);
  if (failure.exitStatus === 2) err.write(`See ${helpCommand}\n`);
  if (flags.debug && error instanceof Error) err.write(`${stacks(error)}\n`);
}

function stacks(error: Error): string {
  const own = error.stack ?? String(error);
  return error.cause instanceof Error ? `${own}\ncaused by ${stacks(error.cause)}` : own;
}
