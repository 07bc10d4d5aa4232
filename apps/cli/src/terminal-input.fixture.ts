/** The parts of a terminal that only conversations use, for tests of everything else. */
import type { Terminal } from "./terminal.js";

/** Standard input of these lines; nobody presses Ctrl-C. */
export function inputOf(text: readonly string[]): Pick<Terminal, "input" | "interruptible"> {
  return {
    input: {
      isTty: false,
      async *lines() {
        yield* text;
      },
    },
    interruptible: (work) => work(new AbortController().signal),
  };
}

export const NO_INPUT = inputOf([]);
