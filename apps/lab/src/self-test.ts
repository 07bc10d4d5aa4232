/**
 * The self-test at the start: cases of every kernel whose results are known, on the kernels that models are computed by. A page meets engines that
 * nobody has tried: what computes wrongly there must say so before it says anything else.
 */
import { type DType, eventLoopTurn } from "@flashwick/core";
import { Arena, type TrainingKernels } from "@flashwick/kernels";
import type { ConformanceCase } from "@flashwick/kernels/conformance";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import type { KernelFailure, KernelTest, SelfTest } from "./messages.js";

/** The ops that read weights: a failure concerns the models that have weights of its type. */
const OF_WEIGHTS: ReadonlySet<ConformanceCase["op"]> = new Set(["linear", "ffn", "ffn-extremes"]);
/** The ops that only training needs. */
const OF_TRAINING: ReadonlySet<string> = new Set(["gemm", "crossEntropy", "adamW"]);

/**
 * Runs a short set of cases on one thread, a turn of the event loop for each.
 *
 * Cost: 0.5 to 0.8 s on two shared cores, and 16 MiB while it lasts.
 */
export async function testKernels(): Promise<SelfTest> {
  const begin = performance.now();
  const { briefCases, CONFORMANCE_ARENA_BYTES, conformanceCases, runConformanceCase, titleOf } = await import(
    "@flashwick/kernels/conformance"
  );
  const kernels = createWasmKernels(new Arena(2 * CONFORMANCE_ARENA_BYTES));
  const check = { run: runConformanceCase, titleOf };
  const results = new Map<string, KernelTest>();
  for (const c of briefCases(conformanceCases)) {
    const { cases, failures } = results.get(c.op) ?? { cases: 0, failures: [] };
    results.set(c.op, { op: c.op, cases: cases + 1, failures: [...failures, ...failuresOf(kernels, c, check)] });
    await eventLoopTurn();
  }
  return { kernels: [...results.values()], ms: performance.now() - begin };
}

/** How a case is run, and named. */
interface CaseCheck {
  readonly run: (kernels: TrainingKernels, c: ConformanceCase) => void;
  readonly titleOf: (c: ConformanceCase) => string;
}

/** One, or none. A trap is a failure like a wrong element. */
function failuresOf(kernels: TrainingKernels, c: ConformanceCase, { run, titleOf }: CaseCheck): KernelFailure[] {
  try {
    run(kernels, c);
    return [];
  } catch (error) {
    const dtype = OF_WEIGHTS.has(c.op) && "dtype" in c ? (c.dtype as DType) : null;
    return [{ title: titleOf(c), dtype, message: error instanceof Error ? error.message : String(error) }];
  }
}

/** The first failure that concerns what is to be run; null: nothing does. */
export function failureFor(
  test: SelfTest,
  types: ReadonlySet<DType>,
  isTraining: boolean,
): (KernelFailure & { readonly op: string }) | null {
  for (const { op, failures } of test.kernels) {
    if (OF_TRAINING.has(op) && !isTraining) continue;
    const failure = failures.find(({ dtype }) => dtype === null || types.has(dtype));
    if (failure) return { op, ...failure };
  }
  return null;
}
