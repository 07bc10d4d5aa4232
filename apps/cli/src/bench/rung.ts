/**
 * The ladder: one model on one device, first as the naive reader runs it, then with one idea more on each rung, in the order of
 * the paper's Table 2, and beyond it. Purely a plan: what each rung is, and what the paper saw there.
 */
import type { OpenModelOptions } from "@flashwick/runtime/node";

/** Which of the files a rung runs. */
export type RungFile = "bundled" | "split" | "int8";

export interface Rung {
  readonly id: string;
  readonly title: string;
  readonly file: RungFile;
  readonly options: OpenModelOptions;
  /**
   * Between tokens: `forget` empties the neuron cache, as who has none; `reload` does that and reads all resident weights again,
   * as who keeps nothing must; null keeps everything.
   */
  readonly between: "reload" | "forget" | null;
  /** Tokens that run before the measured ones, and these. */
  readonly warmUpTokens: number;
  readonly tokens: number;
  /** LLM in a flash, Table 2 (OPT 6.7B, 16 bit, half the memory, M1 Max); null where the paper has no such rung. */
  readonly paper: { readonly ioMs: number; readonly gbPerSec: number } | null;
}

/** Files to climb with, by path; a rung whose file is missing is left out. */
export type LadderFiles = Readonly<Partial<Record<RungFile, string>>>;

export interface LadderPlan {
  readonly files: LadderFiles;
  /** Of the 16-bit rungs. */
  readonly dramBudgetBytes: number;
  /** Of the int8 rung that keeps to half of its own file. */
  readonly int8BudgetBytes: number;
  readonly threads: number | "auto";
  readonly readers: number | "auto";
  readonly tokens: number;
}

/** The paper keeps what the last tokens used: "k = 4" or "past 5 tokens" (method, 1.4); the current one included, that is 5. */
const PAPER_WINDOW_TOKENS = 5;
/** Dense tokens cost seconds each, and all cost the same. */
const DENSE_TOKENS = 3;
const WARM_UP_TOKENS = 16;

/** All rungs that can be climbed with these files, lowest first. */
export function planLadder(plan: LadderPlan): Rung[] {
  const { threads, readers } = plan;
  const one = { threads, readers, dramBudgetBytes: plan.dramBudgetBytes };
  const merged = { ...one, overlap: false, lookahead: false } as const;
  const plain = { ...merged, mergeGapBytes: 0 } as const;
  const dense = { ...plain, mode: "dense", predictor: null } as const;
  const window = { policy: "window", windowTokens: PAPER_WINDOW_TOKENS } as const;
  const ours = one;
  const slow = { warmUpTokens: 1, tokens: DENSE_TOKENS };
  const fast = { warmUpTokens: WARM_UP_TOKENS, tokens: plan.tokens };
  const rungs: Rung[] = [
    rung("naive", "naive: every weight from flash", "bundled", dense, "reload", slow, [2196, 6.1]),
    rung("half", "half resident", "bundled", dense, null, slow, [1090, 6.1]),
    rung("half-ahead", "half resident, read ahead", "bundled", { ...dense, overlap: true }, null, slow, null),
    rung("predictor", "+ predictor", "split", plain, "forget", fast, [738, 1.25]),
    rung("window", "+ window", "split", { ...plain, ...window }, null, fast, [164, 1.25]),
    rung("bundling", "+ bundling", "bundled", { ...plain, ...window }, null, fast, [87, 2.25]),
    rung("merging", "+ merging", "bundled", { ...merged, ...window }, null, fast, null),
    rung("policy", "+ all slots used", "bundled", { ...merged, policy: "window" }, null, fast, null),
    rung("overlap", "… overlapped", "bundled", { ...ours, overlap: true, lookahead: false }, null, fast, null),
    rung("lookahead", "… and looking ahead", "bundled", { ...ours, overlap: true, lookahead: true }, null, fast, null),
    rung("int8", "int8, half of its own file", "int8", int8(ours, plan.int8BudgetBytes), null, fast, null),
    rung("int8-same", "int8, the same DRAM", "int8", int8(ours, plan.dramBudgetBytes), null, fast, null),
  ];
  return rungs.filter(({ file }) => plan.files[file] !== undefined);
}

/**
 * The same model and mode with nothing clever: one thread, buffered reads on it, nothing kept, merged or overlapped. A rung must
 * give the same tokens.
 */
export function counterpartOf(rung: Rung): Rung {
  const { mode, predictor, dramBudgetBytes } = rung.options;
  const options: OpenModelOptions = {
    ...(mode === undefined ? {} : { mode }),
    ...(predictor === undefined ? {} : { predictor }),
    dramBudgetBytes,
    threads: 1,
    readers: 0,
    overlap: false,
    lookahead: false,
    mergeGapBytes: 0,
  };
  // Both layouts and all rungs of one dtype and mode share a counterpart.
  const file = rung.file === "int8" ? "int8" : "bundled";
  const id = `${file} ${mode ?? "predicted"}`;
  return { ...rung, id, title: `counterpart of ${id}`, file, options, between: mode === "dense" ? null : "forget" };
}

function int8(options: OpenModelOptions, dramBudgetBytes: number): OpenModelOptions {
  return { ...options, dramBudgetBytes };
}

function rung(
  id: string,
  title: string,
  file: RungFile,
  options: OpenModelOptions,
  between: Rung["between"],
  length: Pick<Rung, "warmUpTokens" | "tokens">,
  paper: readonly [number, number] | null,
): Rung {
  return {
    id,
    title,
    file,
    options,
    between,
    ...length,
    paper: paper && { ioMs: paper[0], gbPerSec: paper[1] },
  };
}
