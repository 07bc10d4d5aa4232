/** What "LLM in a flash" (arXiv 2312.11514v3) prints in its tables 2 and 3, milliseconds a token. Null: not printed. */

/** Milliseconds of a token by the paper's phases. */
export interface PaperPhases {
  readonly ioMs: number | null;
  /** Deciding what stays, and putting it there. */
  readonly memoryMs: number | null;
  readonly computeMs: number | null;
  readonly totalMs: number | null;
}

/** `cpu` computes in 32 bit on an M1 Max; the others in 16. */
export type PaperBackend = "cpu" | "metal-m1" | "metal-m2" | "rtx-4090";

/** In table 2 rows add one means each, from `naive` to `bundling`. */
export type PaperMethod =
  | "naive"
  | "hybrid"
  | "predictor"
  | "window"
  | "bundling"
  /** Everything together. */
  | "all"
  | "speculative";

/** A row of the paper's Tables 2 and 3, as printed. */
export interface PrintedRow {
  readonly table: 2 | 3;
  /** Name of a model preset. */
  readonly model: string;
  readonly backend: PaperBackend;
  readonly method: PaperMethod;
  readonly printed: PaperPhases;
}

function table2(method: PaperMethod, ioMs: number): PrintedRow {
  const printed = { ioMs, memoryMs: null, computeMs: null, totalMs: null };
  return { table: 2, model: "opt-6.7b", backend: "cpu", method, printed };
}

function table3(model: string, backend: PaperBackend, method: PaperMethod, ...ms: readonly number[]): PrintedRow {
  const [ioMs, memoryMs, computeMs, totalMs] = ms as [number, number, number, number];
  return { table: 3, model, backend, method, printed: { ioMs, memoryMs, computeMs, totalMs } };
}

/** In the paper's order. */
export const PRINTED_ROWS: readonly PrintedRow[] = [
  table2("naive", 2196),
  table2("hybrid", 1090),
  table2("predictor", 738),
  table2("window", 164),
  table2("bundling", 87),
  table3("opt-6.7b", "cpu", "naive", 2196, 0, 986, 3182),
  table3("opt-6.7b", "cpu", "all", 105, 58, 506, 669),
  table3("opt-6.7b", "metal-m1", "naive", 2196, 0, 193, 2389),
  table3("opt-6.7b", "metal-m1", "all", 92, 35, 438, 565),
  table3("opt-6.7b", "metal-m2", "naive", 2145, 0, 125, 2270),
  table3("opt-6.7b", "metal-m2", "all", 26, 8, 271, 305),
  table3("opt-6.7b", "rtx-4090", "naive", 2196, 0, 22, 2218),
  table3("opt-6.7b", "rtx-4090", "all", 30, 34, 20, 84),
  table3("opt-6.7b", "rtx-4090", "speculative", 38.5, 9.5, 12, 60),
  table3("falcon-7b", "cpu", "naive", 2295, 0, 800, 3095),
  table3("falcon-7b", "cpu", "hybrid", 1147, 0, 800, 1947),
  table3("falcon-7b", "cpu", "all", 161, 92, 453, 706),
  table3("persimmon-8b", "cpu", "naive", 2622, 0, 1184, 3806),
  table3("persimmon-8b", "cpu", "hybrid", 1311, 0, 1184, 2495),
  table3("persimmon-8b", "cpu", "all", 283, 98, 660, 1041),
  table3("phi-2", "cpu", "naive", 885, 0, 402, 1287),
  table3("phi-2", "cpu", "hybrid", 309, 0, 402, 711),
  table3("phi-2", "cpu", "all", 211, 76, 259, 546),
  table3("llama-2-7b", "cpu", "naive", 2166, 0, 929, 3095),
  table3("llama-2-7b", "cpu", "hybrid", 974, 0, 929, 1903),
  table3("llama-2-7b", "cpu", "all", 279, 152, 563, 994),
];
