/** One schedule, from its seed to what it has found. */
import { Random } from "@flashwick/core";
import { memoryReader } from "@flashwick/flash-io";
import { compileWasmKernels, createWasmKernels } from "@flashwick/kernels-wasm";
import { Model, type ModelOptions, type ModelParts } from "@flashwick/runtime";
import { nothingObserved, type Observed, type ObservedLogits, type ObservedText } from "./observed.js";
import { type Reference, referenceOf } from "./reference.js";
import { openScheduledModel } from "./schedule-models.js";
import { CONTEXT_TOKENS, planSchedule, type SchedulePlan } from "./schedule-plan.js";
import { workOnSequences } from "./sequence-work.js";
import { simulatedPool } from "./simulated-compute.js";
import { hoppingReader, threadedReader } from "./simulated-readers.js";
import { SimulatedWorld } from "./simulated-world.js";
import { workOnDrafts, workTogether } from "./text-work.js";

/** What came of a schedule. */
export interface ScheduleResult {
  readonly plan: SchedulePlan;
  /** Vectors of logits that were compared, and tokens of texts with their log probabilities. */
  readonly logits: number;
  readonly tokens: number;
  readonly cancels: number;
  /** One sentence for each broken promise. */
  readonly faults: readonly string[];
  /** A number that any change of what was computed changes: the same seed gives the same one. */
  readonly digest: number;
}

/**
 * Runs a schedule. Nothing is thrown: what goes wrong is a fault.
 *
 * @param tamper Changes what the model is made of: for trying whether a fault is found.
 */
export async function runSchedule(
  seed: number,
  tamper: (parts: ModelParts) => ModelParts = (parts) => parts,
): Promise<ScheduleResult> {
  const plan = planSchedule(seed);
  // Compiled beside the event loop, at no certain time: before the schedule begins.
  await compileWasmKernels(true);
  await openScheduledModel(plan.model);
  const observed = nothingObserved();
  const world = new SimulatedWorld(new Random(seed, 2));
  try {
    await world.run(() => observe(plan, world, tamper, observed));
  } catch (error) {
    observed.faults.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  const differences = await compare(plan, observed);
  return {
    plan,
    logits: observed.logits.length,
    tokens: observed.texts.reduce((sum, { tokens }) => sum + tokens.length, 0),
    cancels: observed.cancels,
    faults: [...observed.faults, ...differences],
    digest: digestOf(observed, world.now()),
  };
}

async function observe(
  plan: SchedulePlan,
  world: SimulatedWorld,
  tamper: (parts: ModelParts) => ModelParts,
  observed: Observed,
): Promise<void> {
  const parts = tamper(await partsOf(plan, world));
  const model = new Model(parts, optionsOf(plan, parts));
  const random = new Random(plan.seed, 3);
  try {
    if (plan.work === "sequences") await workOnSequences(world, model, random, observed);
    else if (plan.work === "drafts") await workOnDrafts(world, model, random, observed);
    else await workTogether(world, model, random, observed);
  } finally {
    await model.close();
  }
}

async function partsOf(plan: SchedulePlan, world: SimulatedWorld): Promise<ModelParts> {
  const { bytes, file, predictor } = await openScheduledModel(plan.model);
  const pool = plan.threads > 1 ? await simulatedPool(world, plan.threads) : null;
  return {
    ...{ file, predictor: plan.mode === "predicted" ? predictor : null, backend: "wasm", threads: plan.threads },
    reader: readerOf(plan, world, bytes),
    kernels: pool?.kernels ?? createWasmKernels,
    clock: () => {
      world.pass();
      return world.now();
    },
    sharedMemory: pool !== null,
    releaseArena: (arena) => pool?.release(arena),
    onClose: async () => await pool?.close(),
  };
}

function readerOf(plan: SchedulePlan, world: SimulatedWorld, bytes: Uint8Array) {
  switch (plan.reader) {
    case "memory":
      return memoryReader(bytes, "simulated.gguf");
    case "hopping":
      return hoppingReader(world, new Random(plan.seed, 4), bytes, plan);
    case "threaded":
      return threadedReader(world, bytes, plan);
  }
}

function optionsOf(plan: SchedulePlan, parts: ModelParts): ModelOptions {
  const { mode, kvPrecision, threshold, policy, cacheScope, windowTokens, overlap, lookahead, maxSequences } = plan;
  const options: ModelOptions = {
    ...{ mode, kvPrecision, threshold, policy, cacheScope, windowTokens, overlap, lookahead, maxSequences },
    ...{ mergeGapBytes: plan.mergeGapBytes, contextTokens: CONTEXT_TOKENS },
  };
  if (plan.budgetShare === null) return options;
  const { smallestBudgetBytes, dram } = new Model(parts, options).plan(1);
  const share = plan.budgetShare * Math.max(0, dram.total - smallestBudgetBytes);
  return { ...options, dramBudgetBytes: Math.ceil(smallestBudgetBytes + share) };
}

async function compare(plan: SchedulePlan, observed: Observed): Promise<string[]> {
  const reference = await referenceOf(plan);
  const dense = observed.texts.some(({ lossless }) => lossless)
    ? await referenceOf({ ...plan, mode: "dense" })
    : reference;
  const faults: string[] = [];
  for (const one of observed.logits) faults.push(...(await differingLogits(one, reference)));
  for (const one of observed.texts) faults.push(...(await differingText(one, one.lossless ? dense : reference)));
  return faults;
}

async function differingLogits({ history, logits }: ObservedLogits, reference: Reference): Promise<string[]> {
  const expected = await reference.logitsAfter(history);
  const bits = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);
  const [found, wanted] = [bits(logits), bits(expected)];
  const at = found.findIndex((word, i) => word !== wanted[i]);
  if (at < 0 && found.length === wanted.length) return [];
  return [`logit ${at} after ${history.length} tokens is ${logits[at]}, expected ${expected[at]}`];
}

async function differingText(text: ObservedText, reference: Reference): Promise<string[]> {
  const { prompt, options, tokens, logprobs, isWhole } = text;
  const expected = await reference.textAfter(prompt, options);
  const length = isWhole ? expected.tokens.length : tokens.length;
  const isSame =
    tokens.length === length &&
    tokens.every((token, i) => token === expected.tokens[i]) &&
    logprobs === expected.logprobs.split("\n").slice(0, length).join("\n");
  if (isSame) return [];
  return [`a text after ${prompt.length} tokens is ${tokens.join(" ")}, expected ${expected.tokens.join(" ")}`];
}

/** FNV-1a of all bits and of the simulated time. */
function digestOf({ logits, texts, cancels }: Observed, nowMs: number): number {
  let hash = 0x811c9dc5;
  const add = (word: number) => {
    hash = Math.imul(hash ^ word, 0x01000193);
  };
  for (const { logits: values } of logits)
    for (const word of new Uint32Array(values.buffer, values.byteOffset, values.length)) add(word);
  for (const { tokens } of texts) for (const token of tokens) add(token);
  add(cancels);
  add(Math.round(1000 * nowMs));
  return hash >>> 0;
}
