/** Tokens a second of whole models on WebGPU, beside WebAssembly on the same machine; and whether both say the same. */
import { type DType, memorySource } from "@flashwick/core";
import { type ModelFile, openModelFile } from "@flashwick/flash-format";
import { memoryReader } from "@flashwick/flash-io";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import type { WebGpu } from "@flashwick/kernels-webgpu";
import { deviceCompute, Model, type ModelOptions, type ScoredPosition, scoreTokens } from "@flashwick/runtime";
import type { PackedModel } from "./packed-model.js";
import type { ModelRate } from "./report.js";

/** Any tokens will do: nothing is left out, so each costs the same. Every vocabulary has them. */
const PROMPT = Array.from({ length: 24 }, (_, i) => 3 + ((i * 37) % 400));
/** Logits that are compared at each position, besides the sum over all. */
const PROBE = Array.from({ length: 32 }, (_, i) => 13 * i);

interface Outcome {
  readonly tokensPerSec: number;
  readonly tokens: readonly number[];
  readonly scored: readonly ScoredPosition[];
}

/**
 * Measures one model, resident and streamed.
 *
 * @param bytes  Of its file.
 * @param tokens That are generated, and timed, at least 2.
 * Cost: four times as many tokens on each of both.
 */
export async function measureModel(
  device: WebGpu,
  { name, bound }: PackedModel,
  bytes: Uint8Array<ArrayBuffer>,
  tokens: number,
): Promise<ModelRate[]> {
  const file = await openModelFile(memorySource(bytes, name));
  const run = (on: WebGpu | null, dramBudgetBytes?: number) =>
    runModel(openOn(file, bytes, on, { contextTokens: PROMPT.length + tokens, dramBudgetBytes }), tokens);
  const half = await halfwayBudgetBytes(openOn(file, bytes, device, { contextTokens: PROMPT.length + tokens }));
  const facts = { name, dtypes: dtypesOf(file), fileBytes: bytes.length, tokens, bound };
  const [resident, streamed] = [await run(device), await run(device, half)];
  const [wasm, wasmStreamed] = [await run(null), await run(null, half)];
  const rate = (memory: ModelRate["memory"], webgpu: Outcome, beside: Outcome): ModelRate => ({
    ...facts,
    memory,
    webgpuTokensPerSec: webgpu.tokensPerSec,
    wasmTokensPerSec: beside.tokensPerSec,
    sameTokens: commonLength(webgpu.tokens, beside.tokens),
    largestLogitDifference: largestDifference(webgpu.scored, beside.scored),
    sameBitsAsResident:
      memory === "resident" ? null : JSON.stringify(webgpu.scored) === JSON.stringify(resident.scored),
  });
  return [rate("resident", resident, wasm), rate("streamed", streamed, wasmStreamed)];
}

/** Whether a model's logits are as near as they must be; NaN is not. */
export function isWithinBound({ largestLogitDifference, bound, sameBitsAsResident }: ModelRate): boolean {
  return largestLogitDifference <= bound && sameBitsAsResident !== false;
}

function openOn(file: ModelFile, bytes: Uint8Array, on: WebGpu | null, options: ModelOptions): Model {
  const compute = on ? deviceCompute(on) : { kernels: createWasmKernels, backend: "wasm" };
  const clock = () => performance.now();
  const parts = { file, reader: memoryReader(bytes, file.source.name), predictor: null, clock, ...compute };
  return new Model(parts, { mode: "dense", kvPrecision: "f32", ...options });
}

/** Half way from the least memory that works to all of it. Closes the model. */
async function halfwayBudgetBytes(model: Model): Promise<number> {
  const { smallestBudgetBytes, dram } = model.plan(PROMPT.length);
  await model.close();
  return Math.ceil((smallestBudgetBytes + dram.total) / 2);
}

/** Closes the model. */
async function runModel(model: Model, tokens: number): Promise<Outcome> {
  try {
    const scored = await scoreTokens(model, PROMPT, { top: 1, probe: PROBE });
    // The first run loads the weights, compiles what is not compiled yet, and finds its speed.
    await generate(model, tokens);
    return { scored, ...(await generate(model, tokens)) };
  } finally {
    await model.close();
  }
}

async function generate(model: Model, maxTokens: number): Promise<Pick<Outcome, "tokens" | "tokensPerSec">> {
  const tokens: number[] = [];
  let firstMs = 0;
  for await (const { token } of model.generate(PROMPT, { maxTokens, temperature: 0, ignoreEos: true })) {
    if (token === null) continue;
    if (tokens.push(token) === 1) firstMs = performance.now();
  }
  // The first token is prefill's.
  return { tokens, tokensPerSec: ((tokens.length - 1) * 1000) / (performance.now() - firstMs) };
}

function dtypesOf({ header }: ModelFile): DType[] {
  const inMatrices = header.matrices.flatMap((layer) => Object.values(layer));
  const all = [...inMatrices, ...header.tensors.values()].filter(({ rows }) => rows > 1).map(({ dtype }) => dtype);
  const records = header.weights.layout === "matrices" ? [] : [header.weights.dtype];
  return [...new Set([...records, ...all])].sort();
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  const differ = a.findIndex((token, i) => token !== b[i]);
  return differ < 0 ? a.length : differ;
}

/** Math.max of NaN is NaN, which no bound admits. */
function largestDifference(a: readonly ScoredPosition[], b: readonly ScoredPosition[]): number {
  const numbers = (scored: readonly ScoredPosition[]) =>
    scored.flatMap(({ logSumExp, probe }) => [logSumExp, ...probe.map(([, logit]) => logit)]);
  const others = numbers(b);
  return numbers(a).reduce((most, value, i) => Math.max(most, Math.abs(value - others[i]!)), 0);
}
