/**
 * OPT by hand, and what the paper is about: the bundle and the window. Every neuron is one record on flash, and those that the last tokens named stay
 * in DRAM, so a token reads what it names and they did not. Every part is taken from its package, where `openModel` of
 * `@flashwick/runtime/node` would do it in one line.
 *
 *   opt-runner <model.gguf> [--prompt <text>] [--window <tokens>] [--budget <MiB>] [--tokens <n>]
 */
import { parseArgs } from "node:util";
import { isFlashwickError, MiB, type TokenStats } from "@flashwick/core";
import { type ModelFile, openModelFile, readPredictorFile, recordLayout, sidecarPath } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { openFileReader } from "@flashwick/flash-io/node";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { Model } from "@flashwick/runtime";

const OPTIONS = {
  prompt: { type: "string", default: "In the beginning" },
  window: { type: "string", default: "5" },
  budget: { type: "string", default: "8" },
  tokens: { type: "string", default: "16" },
} as const;
const USAGE = "usage: opt-runner <model.gguf> [--prompt <text>] [--window <tokens>] [--budget <MiB>] [--tokens <n>]\n";

/** The parts of a running model. Each is replaceable: another source, another reader, other kernels. */
async function assemble(path: string, windowTokens: number, dramBudgetBytes: number): Promise<Model> {
  // The header alone: geometry, and where each tensor and each neuron's record stands.
  const file = await openModelFile(await fileSource(path));
  const predictorSource = await fileSource(sidecarPath(path));
  const predictor = await readPredictorFile(predictorSource).finally(() => predictorSource.close());
  const parts = {
    file,
    // Guesses from the FFN's input which neurons will fire, so that only those are read.
    predictor,
    // Brings records into slots: a read for each run of neighbours.
    reader: openFileReader(path),
    kernels: createWasmKernels,
    backend: "wasm",
    clock: () => performance.now(),
  };
  // Plans DRAM under the budget; the window's slots take what weights, keys and values leave.
  return new Model(parts, { dramBudgetBytes, policy: "window", windowTokens });
}

const COLUMNS = [12, 10, 10, 10, 10];
const row = (cells: readonly (string | number)[]) =>
  `${cells.map((cell, i) => `${cell}`.padStart(COLUMNS[i]!)).join("")}\n`;

function bundleRow({ neuronsNamed, cacheHits, neuronsLoaded, flashReads, flashBytes }: TokenStats): string {
  return row([neuronsNamed, cacheHits, neuronsLoaded, flashReads, `${(flashBytes / 1024).toFixed(0)} KiB`]);
}

function describeBundles({ header }: ModelFile): string {
  const { parts, strideBytes } = recordLayout(header);
  return `a bundle is ${parts.map(({ role }) => role).join(" and ")} of one neuron, ${strideBytes} bytes\n`;
}

type Write = { write(text: string): unknown };

/** Text to `stdout`; a line a token of what it named, found and read to `stderr`. @returns The exit status. */
export async function main(argv: readonly string[], { stdout, stderr }: { stdout: Write; stderr: Write }) {
  const { values, positionals } = parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
  const [path] = positionals;
  if (path === undefined) {
    stderr.write(USAGE);
    return 2;
  }
  let model: Model | undefined;
  try {
    model = await assemble(path, Number(values.window), Number(values.budget) * MiB);
    stderr.write(describeBundles(model.parts.file));
    stderr.write(row(["named", "in DRAM", "bundles", "reads", "bytes"]));
    for await (const { text, stats } of model.generate(values.prompt, { maxTokens: Number(values.tokens) })) {
      stdout.write(text);
      if (stats) stderr.write(bundleRow(stats));
    }
    stdout.write("\n");
    return 0;
  } catch (error) {
    if (!isFlashwickError(error)) throw error;
    stderr.write(`${error.code}: ${error.message}\n`);
    return 1;
  } finally {
    await model?.close();
  }
}
