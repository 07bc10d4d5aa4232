/** What both commands of this package are: options, one JSON document on standard output, exit status 0, 1 for a failure, 2 for wrong usage. */
import { type ParseArgsConfig, parseArgs } from "node:util";
import { isFlashwickError } from "@flashwick/core";

/** What a command needs of its process. */
export interface Terminal {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
}

export class UsageError extends Error {}

export interface Program<Options> {
  readonly name: string;
  readonly help: string;
  /** @returns Null if help is asked for. @throws {UsageError} */
  parse(args: readonly string[]): Options | null;
  /** @returns What the document says, beside the time and memory that it took. */
  run(options: Options): Promise<object>;
}

/** @returns The exit status. */
export async function runProgram<Options>(
  { name, help, parse, run }: Program<Options>,
  args: readonly string[],
  { stdout, stderr }: Terminal,
): Promise<number> {
  try {
    const options = parse(args);
    if (options === null) {
      stdout.write(help);
      return 0;
    }
    const startMs = performance.now();
    const result = await run(options);
    const seconds = Number(((performance.now() - startMs) / 1000).toFixed(1));
    const peakRssBytes = process.resourceUsage().maxRSS * 1024;
    stdout.write(`${JSON.stringify({ ...result, seconds, peakRssBytes })}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError) && !isFlashwickError(error)) throw error;
    stderr.write(`${name}: ${error.message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** @throws {UsageError} naming what is wrong. */
export function parseFlags<Flags extends NonNullable<ParseArgsConfig["options"]>>(
  args: readonly string[],
  options: Flags,
) {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (cause) {
    throw new UsageError(`${(cause as Error).message}; see --help`);
  }
}
