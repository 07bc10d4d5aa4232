/** A request of the page that the engine worker carries out. */
import type { OnProgress } from "@flashwick/core";
import type { Answer } from "./messages.js";

/** A request under way: what it says goes to the page under its number, and a stop is for it alone. */
export interface Task {
  readonly say: (answer: Answer, transfer?: Transferable[]) => void;
  readonly signal: AbortSignal;
}

/** Tells the page how far `what` has come. */
export function reportTo({ say }: Task, what: string): OnProgress {
  return ({ loaded, total, detail = "" }) => say({ kind: "progress", what, loaded, total, detail });
}
