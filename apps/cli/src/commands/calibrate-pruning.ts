/** `flashwick calibrate --pruning`: what of each layer's FFN may be left out, for a stated KL from the dense model. */
import { calibrateShares, type PruningPlan } from "@flashwick/runtime/engine";
import { openModel } from "@flashwick/runtime/node";
import type { ByteSize } from "../byte-size.js";
import { budgetBytes } from "../engine-flags.js";
import { checkOutput, writeOutput } from "../output-file.js";
import type { CommonFlags, Report } from "../report.js";
import { figure, percent, table } from "../table.js";

/** Methods whose shares can be calibrated, and whose units a file of columns has. */
export const CALIBRATED_METHODS = ["dip", "dip-norms"] as const;
/** What is asked of a plan by default, nat a token. */
const DEFAULT_KL = 0.05;

export interface PruningFlags extends CommonFlags {
  readonly text: string;
  readonly output: string;
  readonly pruning?: (typeof CALIBRATED_METHODS)[number];
  readonly kl?: number;
  readonly dramBudget?: ByteSize;
  readonly force?: boolean;
}

/** The document of `flashwick calibrate --pruning --json`. */
interface PruningCalibration {
  readonly plan: PruningPlan;
  readonly targetKl: number;
  readonly seconds: number;
}

/**
 * Writes the plan of the fewest bytes that loses no more than the target on the text.
 *
 * @throws As `calibrateShares`; {IoError} `IO_EXISTS` without `force`.
 */
export async function calibratePruning(
  modelPath: string,
  text: string,
  { output, pruning: method = "dip", kl = DEFAULT_KL, dramBudget, force }: PruningFlags,
  report: Report,
): Promise<void> {
  checkOutput(output, force);
  const { terminal, onProgress } = report;
  const startMs = terminal.clock();
  const dramBudgetBytes = dramBudget && (await budgetBytes(modelPath, dramBudget));
  const { signal } = terminal;
  const model = await openModel(modelPath, { predictor: null, mode: "dense", dramBudgetBytes, onProgress, signal });
  let plan: PruningPlan;
  try {
    plan = await calibrateShares(model, text, { method, targetKl: kl, source: "calibrated", onProgress, signal });
  } finally {
    await model.close();
  }
  await writeOutput(output, `${JSON.stringify(plan, null, 2)}\n`);
  const document: PruningCalibration = { plan, targetKl: kl, seconds: (terminal.clock() - startMs) / 1000 };
  report.result(document, () => pruningText(output, document));
}

function pruningText(output: string, { plan, targetKl, seconds }: PruningCalibration): string {
  const mean = (stage: "inputs" | "outputs") =>
    plan.layers.reduce((sum, layer) => sum + (layer[stage].rule === "top" ? layer[stage].share : 1), 0) /
    plan.layers.length;
  return table([
    ["plan", output],
    ["method", plan.method],
    ["target", `a KL of at most ${targetKl} nat a token from the dense model`],
    [
      "stays",
      `${percent(mean("inputs"))} of the inputs, ${percent(mean("outputs"))} of the neurons, means over layers`,
    ],
    ["took", `${figure(seconds)} s`],
  ]);
}
