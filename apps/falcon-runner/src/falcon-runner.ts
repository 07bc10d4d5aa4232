/**
 * Falcon by hand, and what its parallel block gives an engine that reads from flash: attention and FFN have the same input, so the FFN's neurons
 * are known before attention, and their reads fly while it computes. This program draws that, a token a line.
 *
 *   falcon-runner <model.gguf> [<prompt>] [<tokens>]
 */
import { isFlashwickError, UnsupportedError } from "@flashwick/core";
import { openModelFile, openPredictorFile, sidecarPath } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { openFlashReader } from "@flashwick/flash-io/node";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { Model, type TokenSpan } from "@flashwick/runtime";

/** Of the model file: so little that something is read for every token. */
const BUDGET_SHARE = 0.6;

async function openFalcon(path: string): Promise<Model> {
  const file = await openModelFile(await fileSource(path));
  const { architecture, layers } = file.header.geometry;
  if (!layers.every(({ parallel }) => parallel)) {
    throw new UnsupportedError("UNSUPPORTED_ARCHITECTURE", `${path}: ${architecture}, whose FFN waits for attention`);
  }
  // Layers are read from the predictor's file as the engine loads.
  const predictorSource = await fileSource(sidecarPath(path));
  const predictor = await openPredictorFile(predictorSource);
  // Threads that block in reads past the page cache: the calling thread goes on to attention meanwhile.
  const reader = await openFlashReader(path);
  const compute = { kernels: createWasmKernels, backend: "wasm", clock: () => performance.now() };
  return new Model(
    { file, reader, predictor, ...compute, onClose: () => predictorSource.close() },
    { dramBudgetBytes: Math.floor(BUDGET_SHARE * file.header.fileBytes), overlap: true },
  );
}

/** Milliseconds that two kinds of spans have in common. */
function together(spans: readonly TokenSpan[], a: TokenSpan["what"], b: TokenSpan["what"]): number {
  const of = (what: TokenSpan["what"]) => spans.filter((span) => span.what === what);
  return of(a).reduce(
    (sum, { beginMs, endMs }) =>
      of(b).reduce((inner, s) => inner + Math.max(0, Math.min(endMs, s.endMs) - Math.max(beginMs, s.beginMs)), sum),
    0,
  );
}

/** How long reads were in flight, and what the calling thread did meanwhile. */
function flightLine(spans: readonly TokenSpan[]): string {
  const ms = (value: number) => `${value.toFixed(2)} ms`;
  const during = (what: TokenSpan["what"]) => ms(together(spans, "reads", what));
  const all = spans.filter(({ what }) => what === "reads").reduce((sum, s) => sum + s.endMs - s.beginMs, 0);
  return `reads fly ${ms(all)}: beside attention ${during("attention")}, beside the FFN ${during("ffn")}, waited for ${during("readWait")}\n`;
}

interface Output {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

/** Text and reads by token to `stdout`. @returns The exit status. */
export async function main(
  [path, prompt = "In the beginning", tokens = "16"]: readonly string[],
  { stdout, stderr }: Output,
): Promise<number> {
  if (path === undefined) {
    stderr.write("usage: falcon-runner <model.gguf> [<prompt>] [<tokens>]\n");
    return 2;
  }
  let model: Model | null = null;
  try {
    model = await openFalcon(path);
    let spans: TokenSpan[] = [];
    const observer = { span: (span: TokenSpan) => void spans.push(span) };
    for await (const { text, stats } of model.generate(prompt, { maxTokens: Number(tokens), observer })) {
      if (stats) stdout.write(`${JSON.stringify(text).padEnd(14)} ${flightLine(spans)}`);
      spans = [];
    }
    return 0;
  } catch (error) {
    if (!isFlashwickError(error)) throw error;
    stderr.write(`falcon-runner: ${error.code}: ${error.message}\n`);
    return 1;
  } finally {
    await model?.close();
  }
}
