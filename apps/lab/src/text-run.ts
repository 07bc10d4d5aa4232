/** A run of a model, passed on to the page as it goes: its text, its steps, and what they cost. */
import { eventLoopTurn } from "@flashwick/core";
import type { NeuronTrace } from "@flashwick/dram-cache/simulate";
import { StepWatch, type Unit } from "@flashwick/drawings";
import {
  type FinishReason,
  type GeneratedToken,
  type GenerateOptions,
  hitShare,
  type Model,
  percentile,
} from "@flashwick/runtime";
import type { Drafts, GenerateRequest, RunFigures, StepEvent, TextFigures } from "./messages.js";
import { factsOf } from "./model-opening.js";
import type { Task } from "./task.js";

/** What a run has come to so far; it stays where the run is stopped. */
export class RunMeter {
  readonly tokens: number[] = [];
  finishReason: FinishReason = "aborted";
  readonly #beginMs = performance.now();
  #firstMs: number | null = null;
  #computed = 0;
  #stepMs = 0;
  #flashBytes = 0;
  #hits = 0;
  #misses = 0;
  /** Of each token. */
  #tokenMs: number[] = [];

  add({ token, step, finishReason }: GeneratedToken): void {
    if (finishReason !== null) this.finishReason = finishReason;
    if (token === null) return;
    this.#firstMs ??= performance.now() - this.#beginMs;
    this.tokens.push(token);
    if (step === null) return;
    this.#computed++;
    if (step.row > 0) return;
    const { ms, flashBytes, cacheHits, cacheMisses } = step.stats;
    this.#stepMs += ms;
    this.#flashBytes += flashBytes;
    this.#hits += cacheHits;
    this.#misses += cacheMisses;
    const tokens = 1 + step.accepted;
    for (let row = 0; row < tokens; row++) this.#tokenMs.push(ms / tokens);
  }

  /** Cost: a sort of the tokens' times. */
  get figures(): RunFigures {
    const ascending = [...this.#tokenMs].sort((a, b) => a - b);
    const at = (share: number) => percentile(ascending, share);
    return {
      tokensPerSec: this.#stepMs > 0 ? (1000 * this.#computed) / this.#stepMs : 0,
      flashBytesPerToken: this.#computed > 0 ? this.#flashBytes / this.#computed : 0,
      cacheHitShare: hitShare(this.#hits, this.#misses),
      tokenMs: { p50: at(0.5), p99: at(0.99), max: at(1) },
    };
  }

  /** From the request to the first token: loading and the prompt. Null before it. */
  get firstTokenMs(): number | null {
    return this.#firstMs;
  }
}

/** Neurons, or experts, of the steps of a run: by token and layer. */
export type NamedSets = Uint32Array[][];

/** What a text used, for the simulator. */
export interface UnitTrace extends NeuronTrace {
  readonly unit: Unit;
}

/** Passes on all of a run. @returns The sets that its steps named. */
export async function streamRun(
  model: Model,
  run: AsyncIterable<GeneratedToken>,
  watch: StepWatch,
  meter: RunMeter,
  { say }: Task,
): Promise<NamedSets> {
  const sets: NamedSets = [];
  for await (const item of run) {
    const { text, step } = item;
    meter.add(item);
    if (text !== "") say({ kind: "text", text, isDraft: (step?.row ?? 0) > 0 });
    if (step?.row === 0) {
      const { sets: seen, ...event } = stepEvent(model, item, watch);
      sets.push(...seen);
      say({ kind: "step", event: { ...event, run: meter.figures } }, [event.states.buffer]);
    }
    // A turn of the event loop, in which a stop is heard.
    if (step !== null) await eventLoopTurn();
  }
  return sets;
}

/** A text after a prompt. @returns The neurons, or experts, that it named. */
export async function generateText(model: Model, request: GenerateRequest, task: Task): Promise<UnitTrace> {
  const prompt = model.tokenizer.encode(request.prompt, true);
  const context = Math.min(model.header.geometry.contextLength, prompt.length + request.maxTokens);
  const facts = factsOf(model, context, request.drafts);
  task.say({ kind: "run", facts });
  const [watch, meter] = [new StepWatch(facts), new RunMeter()];
  const run = model.generate(prompt, {
    maxTokens: request.maxTokens,
    ignoreEos: true,
    ...draftOptions(request.drafts),
    ...watch.observers,
    signal: task.signal,
  });
  const tokens = await streamRun(model, run, watch, meter, task);
  const { unit, nLayers, dFf } = facts;
  task.say({ kind: "generated", figures: textFigures(model, meter, facts.dram.total, tokens.length) });
  return { unit, nLayers, dFf, tokens };
}

/** @param replayable Tokens whose neurons or experts are known. */
export function textFigures(model: Model, meter: RunMeter, dramBytes: number, replayable: number): TextFigures {
  const { tokens, finishReason: end, firstTokenMs, figures } = meter;
  return { ...figures, tokens, end, firstTokenMs, dramBytes, fileBytes: model.header.fileBytes, replayable };
}

export function draftOptions(drafts: Drafts): Pick<GenerateOptions, "lossless" | "speculate"> {
  return drafts === "lossless" ? { lossless: true } : { speculate: drafts };
}

/** The step that began with `item`, as it was seen; `sets` are those of the tokens that it brought. */
function stepEvent(model: Model, { token, step }: GeneratedToken, watch: StepWatch) {
  const { drafts, accepted, stats } = step!;
  const { ms, phaseMs, flashBytes, flashReads, cacheHits: hits, cacheMisses: misses } = stats;
  const { states, sets, ...seen } = watch.take();
  const textOf = (id: number) => model.tokenizer.decode([id]);
  return {
    text: textOf(token!),
    drafts: drafts.map(textOf),
    accepted,
    ...{ ms, phaseMs: { ...phaseMs }, flashBytes, flashReads, hits, misses },
    ...seen,
    states,
    sets: sets.slice(0, 1 + accepted),
  } satisfies Omit<StepEvent, "run"> & { readonly sets: unknown };
}
