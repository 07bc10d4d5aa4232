/**
 * What a command sees of the world it runs in. Commands never touch `process`, so that tests run them in-process.
 */

export interface TextOutput {
  readonly isTty: boolean;
  /** Width in characters; 80 where nobody says. */
  readonly columns: number;
  write(text: string): void;
}

export interface TextInput {
  readonly isTty: boolean;
  /** Line by line, until the end of the input. Asked for once. @param prompt Shown before each line where a person types. */
  lines(prompt: string): AsyncIterable<string>;
}

export interface Terminal {
  /** Results: text for a person, or one JSON document. */
  readonly out: TextOutput;
  /** Progress, notes and errors. */
  readonly err: TextOutput;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Standard input. */
  readonly input: TextInput;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** Runs work that Ctrl-C ends by the signal that it is given, and not the program. */
  readonly interruptible: <T>(work: (signal: AbortSignal) => Promise<T>) => Promise<T>;
  /** Milliseconds, monotonic. */
  readonly clock: () => number;
  /** Largest resident memory of this process so far. */
  readonly peakRssBytes: () => number;
}

/** Emphasis, where the output is a terminal that wants it (https://no-color.org). */
export function bold(terminal: Terminal, output: TextOutput, text: string): string {
  return wantsStyle(terminal, output) ? `\x1b[1m${text}\x1b[22m` : text;
}

/** The opposite of {@link bold}. */
export function dim(terminal: Terminal, output: TextOutput, text: string): string {
  return wantsStyle(terminal, output) ? `\x1b[2m${text}\x1b[22m` : text;
}

function wantsStyle({ env }: Terminal, output: TextOutput): boolean {
  return output.isTty && !env.NO_COLOR && env.TERM !== "dumb";
}
