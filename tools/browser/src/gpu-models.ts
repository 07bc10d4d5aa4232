/**
 * Models on a device, held against an independent implementation's logits and against WebAssembly's tokens. Runs wherever a device is: in Node, in a page.
 */
import { memorySource, type Predictor } from "@flashwick/core";
import { openModelFile, readPredictorFile } from "@flashwick/flash-format";
import { memoryReader } from "@flashwick/flash-io";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import type { WebGpu } from "@flashwick/kernels-webgpu";
import { deviceCompute, Model, type ModelOptions, scoreTokens } from "@flashwick/runtime";

/** As the files of packages/runtime/fixtures/goldens. */
interface Golden {
  readonly cases: readonly {
    readonly tokens: readonly number[];
    readonly positions: readonly {
      readonly logSumExp: number;
      readonly top: readonly (readonly [number, number])[];
      readonly probe: readonly (readonly [number, number])[];
    }[];
  }[];
}

/** Gives a file of the test's: `<model>.gguf`, `<model>.json` (golden), `<model>.predictor.gguf`. */
export type LoadFile = (name: string) => Promise<Uint8Array>;

/** How far a model's logits on a device are from the reference's, at most. */
export interface GoldenOutcome {
  readonly name: string;
  readonly positions: number;
  readonly largestDifference: number;
  /** Whether each layer streamed through the least memory gives the bits of all of them resident; null: not asked. */
  readonly streamedIsSame: boolean | null;
}

/** What a model says greedily within half its file, its predictor naming the neurons. */
export interface GreedyOutcome {
  readonly name: string;
  readonly webgpu: readonly number[];
  readonly wasm: readonly number[];
  /** By which WebAssembly's choice was ahead of the next, for each token. */
  readonly margins: readonly number[];
  /** After the device was lost half-way and the model went on. */
  readonly continued: readonly number[];
  readonly continuedOn: string;
}

export interface ModelOutcomes {
  readonly adapter: string;
  readonly goldens: readonly GoldenOutcome[];
  readonly greedy: readonly GreedyOutcome[];
}

/** Arenas so small that the smallest models have two of them; by the model's name. */
const SMALL_ARENAS: readonly (readonly [RegExp, number])[] = [
  [/-tiny/, 900_000],
  [/^gguf-/, 1_400_000],
];
const GREEDY_TOKENS = 16;
/** After so many tokens the device is lost. */
const LOST_AFTER = 6;
const PROMPT = "In the beginning";

/**
 * @param openDevice Opens one more device, which `lose` takes away again.
 * @param goldens    Models whose logits are known.
 * @param demos      Models with tokenizer and predictor.
 */
export async function runModels(
  openDevice: () => Promise<{ readonly device: WebGpu; lose(): void }>,
  load: LoadFile,
  goldens: readonly string[],
  demos: readonly string[],
): Promise<ModelOutcomes> {
  const { device } = await openDevice();
  const outcomes: GoldenOutcome[] = [];
  for (const name of goldens) outcomes.push(await compareLogits(device, name, load));
  const greedy: GreedyOutcome[] = [];
  for (const name of demos) greedy.push(await compareGreedy(device, openDevice, name, load));
  device.close();
  return { adapter: device.adapter, goldens: outcomes, greedy };
}

async function openOn(
  device: WebGpu | null,
  name: string,
  load: LoadFile,
  options: ModelOptions = {},
  predicted = false,
) {
  const bytes = await load(`${name}.gguf`);
  const file = await openModelFile(memorySource(bytes, name));
  const predictor: Predictor | null = predicted
    ? await readPredictorFile(memorySource(await load(`${name}.predictor.gguf`), name))
    : null;
  // What is sharded must cross over, too.
  const small = SMALL_ARENAS.find(([names]) => names.test(name));
  const compute = device
    ? { ...deviceCompute(device), ...(small && { maxArenaBytes: small[1] }) }
    : { kernels: createWasmKernels, backend: "wasm" };
  const clock = () => performance.now();
  return new Model({ file, reader: memoryReader(bytes, name), predictor, clock, ...compute }, options);
}

async function compareLogits(device: WebGpu, name: string, load: LoadFile): Promise<GoldenOutcome> {
  const golden: Golden = JSON.parse(new TextDecoder().decode(await load(`${name}.json`)));
  const model = await openOn(device, name, load);
  const isGguf = name.startsWith("gguf-");
  const streamedIsSame = isGguf ? await isSameStreamed(device, name, load, golden.cases.at(-1)!.tokens) : null;
  let largestDifference = 0;
  let count = 0;
  const compare = (a: number, b: number) => {
    // Math.max of NaN is NaN, which no bound admits.
    largestDifference = Math.max(largestDifference, Math.abs(a - b));
  };
  for (const { tokens, positions } of golden.cases) {
    const probe = positions[0]!.probe.map(([token]) => token);
    const scored = await scoreTokens(model, tokens, { top: 8, probe });
    for (const [p, { logSumExp, top, probe: probes }] of positions.entries()) {
      count++;
      compare(scored[p]!.logSumExp, logSumExp);
      for (const [i, [, logit]] of probes.entries()) compare(scored[p]!.probe[i]![1], logit);
      for (const [i, [, logit]] of top.entries()) compare(scored[p]!.top[i]![1], logit);
    }
  }
  await model.close();
  return { name, positions: count, largestDifference, streamedIsSame };
}

async function isSameStreamed(
  device: WebGpu,
  name: string,
  load: LoadFile,
  tokens: readonly number[],
): Promise<boolean> {
  const options = { contextTokens: tokens.length, kvPrecision: "f32" } as const;
  const logitsWithin = async (dramBudgetBytes: number | undefined) => {
    const model = await openOn(device, name, load, { ...options, dramBudgetBytes });
    const { smallestBudgetBytes } = model.plan(tokens.length);
    const scored = JSON.stringify(await scoreTokens(model, tokens, { top: 8 }));
    await model.close();
    return { smallestBudgetBytes, scored };
  };
  const resident = await logitsWithin(undefined);
  return (await logitsWithin(resident.smallestBudgetBytes)).scored === resident.scored;
}

async function compareGreedy(
  device: WebGpu,
  openDevice: () => Promise<{ readonly device: WebGpu; lose(): void }>,
  name: string,
  load: LoadFile,
): Promise<GreedyOutcome> {
  const dramBudgetBytes = Math.floor((await load(`${name}.gguf`)).length / 2);
  const onWasm = await openOn(null, name, load, { dramBudgetBytes }, true);
  const wasm = await greedyTokens(onWasm);
  const margins = await marginsOf(onWasm, wasm);
  await onWasm.close();

  const onDevice = await openOn(device, name, load, { dramBudgetBytes }, true);
  const webgpu = await greedyTokens(onDevice);
  await onDevice.close();

  const fragile = await openDevice();
  const options = { dramBudgetBytes, onDeviceLost: () => "continue" as const };
  const survivor = await openOn(fragile.device, name, load, options, true);
  const continued = await greedyTokens(survivor, (count) => {
    if (count === LOST_AFTER) fragile.lose();
  });
  const continuedOn = survivor.parts.backend;
  await survivor.close();
  return { name, webgpu, wasm, margins, continued, continuedOn };
}

async function greedyTokens(model: Model, onToken: (count: number) => void = () => {}): Promise<number[]> {
  const tokens: number[] = [];
  for await (const { token } of model.generate(PROMPT, { maxTokens: GREEDY_TOKENS, temperature: 0, ignoreEos: true })) {
    if (token !== null) onToken(tokens.push(token));
  }
  return tokens;
}

/** The same sequence again, this time looking at the logits. */
async function marginsOf(model: Model, tokens: readonly number[]): Promise<number[]> {
  const prompt = model.tokenizer.encode(PROMPT, true);
  return await model.withSequence(prompt.length + tokens.length, async (sequence) => {
    let { logits } = await sequence.prefill(prompt);
    const margins: number[] = [];
    for (const token of tokens) {
      const best = logits[token]!;
      margins.push(best - logits.reduce((most, logit, i) => (i === token ? most : Math.max(most, logit)), -Infinity));
      ({ logits } = await sequence.decode(token));
    }
    return margins;
  });
}
