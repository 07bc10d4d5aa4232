/**
 * The smallest runner of llama.cpp's GGUF files: every part is taken from its package and put together by hand, where `openModel` of
 * `@flashwick/runtime/node` would do it in one line. What its family is about: weights that nobody converted, in blocks of four bits, of which the layers
 * that do not fit pass through memory for every token, read past the page cache by threads while others compute.
 *
 *   llama-runner <model.gguf> [<message>] [<budget in MiB>] [<tokens>]
 */
import { formatBytes, InputError, isFlashwickError, MiB, type RunStats } from "@flashwick/core";
import { openModelFile, withChecksumsBeside } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { openFlashReader } from "@flashwick/flash-io/node";
import { createComputePool } from "@flashwick/kernels-wasm/node";
import { Model } from "@flashwick/runtime";

/** Where text and figures go: `process`, or what a test gives. */
export interface Output {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

interface Request {
  readonly modelPath: string;
  readonly message: string;
  readonly dramBudgetBytes: number | undefined;
  readonly maxTokens: number;
}

/** Threads that compute, the calling one included. */
const THREADS = 2;
/** Keys and values that are reserved. */
const CONTEXT_TOKENS = 512;

/** The parts of a running model. Each is replaceable: another source, another reader, other kernels. */
async function assemble({ modelPath, dramBudgetBytes }: Request): Promise<Model> {
  // 1. The header: geometry by llama.cpp's keys, where each matrix lies and in which type. Beside it, its checksums, if there are any.
  const source = await fileSource(modelPath);
  const file = await withChecksumsBeside(await openModelFile(source));
  if (file.header.weights.layout !== "matrices") {
    throw new InputError("INPUT_INVALID", `${modelPath}: neuron records, expected a GGUF file of llama.cpp`);
  }
  // 2. What brings rows of matrices into the stage: threads that read past the page cache.
  const reader = await openFlashReader(file.source.parts ?? modelPath);
  // 3. What computes: threads that share out the rows of a product.
  const pool = await createComputePool({ threads: THREADS });
  const parts = {
    file,
    reader,
    kernels: pool.kernels,
    backend: "wasm",
    predictor: null,
    clock: () => performance.now(),
    sharedMemory: true,
    threads: THREADS,
    releaseArena: (arena: Parameters<typeof pool.release>[0]) => pool.release(arena),
    onClose: () => pool.close(),
  };
  // 4. The engine: plans DRAM under the budget, loads with the first request what is to stay.
  const contextTokens = Math.min(CONTEXT_TOKENS, file.header.geometry.contextLength);
  return new Model(parts, { dramBudgetBytes, contextTokens, mode: "dense" });
}

/** Text to standard output as it comes; what it cost to standard error. */
async function reply(model: Model, { message, maxTokens }: Request, { stdout, stderr }: Output): Promise<void> {
  // 5. The chat template that the file carries makes a prompt of the conversation; a file without one goes on from the message.
  const hasTemplate = model.header.values.has("tokenizer.chat_template");
  const run = hasTemplate
    ? model.chat([{ role: "user", content: message }], { maxTokens })
    : model.generate(message, { maxTokens });
  for (;;) {
    const step = await run.next();
    if (step.done) {
      stdout.write("\n");
      stderr.write(describe(model, step.value.stats));
      return;
    }
    stdout.write(step.value.text);
  }
}

function describe(model: Model, stats: RunStats): string {
  const { layers } = model.header.geometry;
  const { slotsByLayer } = model.plan(1);
  const resident = layers.filter(({ ffn }, layer) => slotsByLayer[layer] === ffn.dFf).length;
  return [
    "",
    `${stats.tokensPerSec.toFixed(1)} tokens/s, prefill ${stats.prefillMs.toFixed(0)} ms`,
    `DRAM  ${formatBytes(stats.dramBytes.total)} of ${formatBytes(stats.dramBytes.budget)}: ${resident} of ${layers.length} layers stay`,
    `flash ${formatBytes(stats.flashBytesPerToken)} in ${stats.readsPerToken.toFixed(0)} reads per token`,
    "",
  ].join("\n");
}

function parseRequest([modelPath, message, budgetMiB, maxTokens]: readonly string[]): Request | null {
  if (modelPath === undefined) return null;
  return {
    modelPath,
    message: message ?? "What is the capital of France?",
    dramBudgetBytes: budgetMiB === undefined ? undefined : Number(budgetMiB) * MiB,
    maxTokens: maxTokens === undefined ? 64 : Number(maxTokens),
  };
}

/** @returns The exit status: 0, 1 for a failure, 2 for wrong usage. */
export async function main(argv: readonly string[], output: Output): Promise<number> {
  const request = parseRequest(argv);
  if (request === null) {
    output.stderr.write("usage: llama-runner <model.gguf> [<message>] [<budget in MiB>] [<tokens>]\n");
    return 2;
  }
  try {
    const model = await assemble(request);
    try {
      await reply(model, request, output);
    } finally {
      await model.close();
    }
    return 0;
  } catch (error) {
    if (!isFlashwickError(error)) throw error;
    output.stderr.write(`llama-runner: ${error.code}: ${error.message}\n`);
    return 1;
  }
}
