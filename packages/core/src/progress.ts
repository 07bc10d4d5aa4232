/** Progress of anything long. Libraries never print; they report here. */
export interface Progress {
  /** What is going on, in the words of the command: "convert", "load", "prefill", "record", "train", "evaluate", "verify". */
  readonly phase: string;
  readonly loaded: number;
  readonly total: number;
  readonly unit: "bytes" | "tokens" | "steps" | "layers" | "runs" | "tasks";
  /** Anything worth showing beside the bar: a tensor's name, a loss. */
  readonly detail?: string;
}

/** Called now and then while something long goes on. */
export type OnProgress = (progress: Progress) => void;
