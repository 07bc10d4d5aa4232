/**
 * The smallest runner of OPT models: every part is taken from its package and put together by hand, where
 * `openModel` of `@flashwick/runtime/node` would do it in one line. Read it to see what the parts are.
 *
 *   opt-runner <model.gguf> [<predictor.gguf> | -] [<prompt>] [<budget in MiB>] [<tokens>]
 */
import { existsSync } from "node:fs";
import { formatBytes, InputError, isFlashwickError, MiB, type Predictor, type RunStats } from "@flashwick/core";
import { openModelFile, readPredictorFile, sidecarPath } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { openFileReader } from "@flashwick/flash-io/node";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { Model } from "@flashwick/runtime";

/** Where text and figures go: `process`, or what a test gives. */
export interface Output {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

interface Request {
  readonly modelPath: string;
  /** Null runs dense: every layer is streamed for every token. */
  readonly predictorPath: string | null;
  readonly prompt: string;
  readonly dramBudgetBytes: number | undefined;
  readonly maxTokens: number;
}

/** The six parts of a running model. Each is replaceable: another source, another reader, other kernels. */
async function assemble({ modelPath, predictorPath, dramBudgetBytes }: Request): Promise<Model> {
  // 1. The header: geometry, where each tensor and each neuron record stands. Nothing else is read yet.
  const source = await fileSource(modelPath);
  const file = await openModelFile(source);
  if (file.header.geometry.architecture !== "opt") {
    throw new InputError("INPUT_INVALID", `${modelPath}: a ${file.header.geometry.architecture} model, expected opt`);
  }
  // 2. What fills slots with neuron records while tokens are decoded.
  const reader = openFileReader(modelPath);
  // 3. What names the neurons of a token before they are computed.
  const predictor = predictorPath === null ? null : await readPredictor(predictorPath);
  // 4. What computes: kernels over an arena of WebAssembly memory. 5. A clock, for the statistics.
  const parts = {
    file,
    reader,
    kernels: createWasmKernels,
    backend: "wasm",
    predictor,
    clock: () => performance.now(),
  };
  // 6. The engine: plans DRAM under the budget, loads resident weights with the first request.
  return new Model(parts, { dramBudgetBytes });
}

async function readPredictor(path: string): Promise<Predictor> {
  const source = await fileSource(path);
  try {
    return await readPredictorFile(source);
  } finally {
    await source.close();
  }
}

/** Text to standard output as it comes; what it cost to standard error. */
async function generate(model: Model, { prompt, maxTokens }: Request, { stdout, stderr }: Output): Promise<void> {
  const run = model.generate(prompt, { maxTokens });
  for (;;) {
    const step = await run.next();
    if (step.done) {
      stdout.write("\n");
      stderr.write(describe(step.value.stats));
      return;
    }
    stdout.write(step.value.text);
  }
}

function describe(stats: RunStats): string {
  const fewer = stats.naiveFlashBytesPerToken / stats.flashBytesPerToken;
  const share = stats.cacheHits / Math.max(1, stats.cacheHits + stats.cacheMisses);
  return [
    "",
    `${stats.mode}: ${stats.tokensPerSec.toFixed(1)} tokens/s, prefill ${stats.prefillMs.toFixed(0)} ms`,
    `DRAM  ${formatBytes(stats.dramBytes.total)} of ${formatBytes(stats.dramBytes.budget)}`,
    `flash ${formatBytes(stats.flashBytesPerToken)} in ${stats.readsPerToken.toFixed(0)} reads per token` +
      (Number.isFinite(fewer) ? `, ${fewer.toFixed(1)}x fewer bytes than the naive reader` : ""),
    `cache ${(100 * share).toFixed(1)} % of ${stats.neuronsNamedPerToken.toFixed(0)} named neurons were in DRAM`,
    "",
  ].join("\n");
}

function parseRequest([modelPath, predictor, prompt, budgetMiB, maxTokens]: readonly string[]): Request | null {
  if (modelPath === undefined) return null;
  const sidecar = predictor ?? sidecarPath(modelPath);
  const dense = predictor === "-" || (predictor === undefined && !existsSync(sidecar));
  return {
    modelPath,
    predictorPath: dense ? null : sidecar,
    prompt: prompt ?? "In the beginning",
    dramBudgetBytes: budgetMiB === undefined ? undefined : Number(budgetMiB) * MiB,
    maxTokens: Number(maxTokens ?? 64),
  };
}

/** @returns The exit status: 0, 1 for a failure, 2 for wrong usage. */
export async function main(argv: readonly string[], output: Output): Promise<number> {
  const request = parseRequest(argv);
  if (!request) {
    output.stderr.write("usage: opt-runner <model.gguf> [<predictor.gguf> | -] [<prompt>] [<MiB>] [<tokens>]\n");
    return 2;
  }
  try {
    const model = await assemble(request);
    await generate(model, request, output).finally(() => model.close());
    return 0;
  } catch (error) {
    if (!isFlashwickError(error)) throw error;
    output.stderr.write(`${error.code}: ${error.message}\n`);
    return 1;
  }
}
