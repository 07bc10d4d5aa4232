/** One call of the program: where it runs, and what it comes to. */
import type { Terminal } from "./terminal.js";

export interface Invocation {
  readonly terminal: Terminal;
  exitStatus: number;
}
