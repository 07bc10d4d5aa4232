/** What a command says, and where: its result on standard output, everything else on standard error. */
import type { OnProgress } from "@flashwick/core";
import { progressLine } from "./progress-line.js";
import type { Terminal } from "./terminal.js";

/** Flags that every command has. */
export interface CommonFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly debug?: boolean;
}

export class Report {
  readonly terminal: Terminal;
  readonly json: boolean;
  readonly onProgress: OnProgress;
  readonly #quiet: boolean;
  readonly #clear: () => void;

  constructor(terminal: Terminal, { json = false, quiet = false }: CommonFlags) {
    this.terminal = terminal;
    this.json = json;
    this.#quiet = quiet;
    const line = progressLine(terminal);
    this.onProgress = quiet ? () => {} : line.onProgress;
    this.#clear = line.clear;
  }

  /** The one document of `--json`, or the text of a person. Numbers that JSON has not are null. */
  result(document: unknown, text: () => string): void {
    this.#clear();
    this.terminal.out.write(`${this.json ? JSON.stringify(document) : text()}\n`);
  }

  /** One of several documents, a line each (`run --json --stream`). */
  line(document: unknown): void {
    this.#clear();
    this.terminal.out.write(`${JSON.stringify(document)}\n`);
  }

  /** A piece of running text for a person. */
  stream(text: string): void {
    if (text === "") return;
    this.#clear();
    this.terminal.out.write(text);
  }

  /** Worth knowing, not the result. */
  note(text: string): void {
    this.#clear();
    if (!this.#quiet) this.terminal.err.write(`${text}\n`);
  }

  /** Ends the progress bar; after it, the terminal is as it was. */
  close(): void {
    this.#clear();
  }
}
