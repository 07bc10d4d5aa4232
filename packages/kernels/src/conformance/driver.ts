/** Runs one case of the table on one backend. */
import type { TrainingKernels } from "../contract.js";
import { runAttention } from "./attention-cases.js";
import type { ConformanceCase } from "./case-table.js";
import { runFfn, runFfnExtremes } from "./ffn-cases.js";
import { runGate } from "./gate-cases.js";
import { runLinear } from "./linear-cases.js";
import { runLayerNorm, runNormHeads, runRmsNorm } from "./norm-cases.js";
import { runRows } from "./row-cases.js";
import { runCrossEntropy, runFloat16, runGemm, runOptimiser } from "./training-cases.js";
import { runCrc32c, runCrc32cSlots, runElementwise, runRotate, runSelectAbove } from "./vector-cases.js";
import { Workbench } from "./workbench.js";

/** What the largest case needs of an arena. */
export const CONFORMANCE_ARENA_BYTES = 8 * 1024 * 1024;

const SEED = 20240229;

/**
 * Runs `c` on `kernels`, within `kernels.arena`, which needs {@link CONFORMANCE_ARENA_BYTES} free and is left as it was.
 *
 * @throws {ConformanceFailure} naming the element that is wrong.
 */
export function runConformanceCase(kernels: TrainingKernels, c: ConformanceCase): void {
  const mark = kernels.arena.mark();
  try {
    const bench = new Workbench(kernels, SEED);
    run(bench, c);
    bench.expectScratchKept();
  } finally {
    kernels.arena.rewind(mark);
  }
}

function run(bench: Workbench, c: ConformanceCase): void {
  switch (c.op) {
    case "linear":
      runLinear(bench, c);
      break;
    case "ffn":
      runFfn(bench, c);
      break;
    case "ffn-extremes":
      runFfnExtremes(bench, c);
      break;
    case "attention":
      runAttention(bench, c);
      break;
    case "layerNorm":
      runLayerNorm(bench, c);
      break;
    case "rmsNorm":
      runRmsNorm(bench, c);
      break;
    case "normHeads":
      runNormHeads(bench, c);
      break;
    case "gate":
      runGate(bench, c);
      break;
    case "rotate":
      runRotate(bench, c);
      break;
    case "elementwise":
      runElementwise(bench, c);
      break;
    case "rows":
      runRows(bench, c);
      break;
    case "selectAbove":
      runSelectAbove(bench, c);
      break;
    case "crc32c":
      runCrc32c(bench, c);
      break;
    case "crc32cSlots":
      runCrc32cSlots(bench, c);
      break;
    case "gemm":
      runGemm(bench, c);
      break;
    case "float16":
      runFloat16(bench, c);
      break;
    case "crossEntropy":
      runCrossEntropy(bench, c);
      break;
    case "adamW":
      runOptimiser(bench, c);
      break;
  }
}
