/** One request for text, from the words of its caller to the summary: what `Model.generate` does. */
import { InputError, type ModelGeometry, type RunStats, type TokenStats } from "@flashwick/core";
import { type MemoryPlan, SpeculationMeter, type SpeculationPrior } from "@flashwick/cost-model";
import { checkTokens } from "./check-tokens.js";
import { ALL_NEURONS, type Chooser } from "./chooser.js";
import { draftAcceptance } from "./draft-acceptance.js";
import type { EngineHolder } from "./engine-holder.js";
import {
  type Beginning,
  begin,
  beginAgain,
  type GeneratedToken,
  Generation,
  PlainDecoder,
  type TokenDecoder,
} from "./generation.js";
import { type FinishReason, GrowingText } from "./growing-text.js";
import type { GenerateOptions } from "./model-options.js";
import type { RequestQueue } from "./request-queue.js";
import { summarizeRun } from "./run-summary.js";
import { createSampler, type SamplingOptions } from "./sampler.js";
import type { Sequence } from "./sequence.js";
import { planSpeculation, type SpeculationPlan } from "./speculation/speculation-plan.js";
import { SpeculativeDecoder } from "./speculation/speculative-decoder.js";
import type { TextModel } from "./text-model.js";
import { TextStream } from "./text-stream.js";
import { noTokenizerError } from "./text-tokenizer.js";
import { checkTopLogprobs } from "./token-logprob.js";
import { TokenSelector } from "./token-selector.js";

/** Drafts of a lossless run's first step, before anything of it was measured. */
const FIRST_SPARSE_DRAFTS = 6;

/** What a finished run returns. */
export interface RunSummary {
  readonly promptTokens: number;
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
  readonly stats: RunStats;
  readonly plan: MemoryPlan;
}

/**
 * @param meters What drafting was worth so far, by drafter and verifier.
 * @throws As `Model.generate`.
 */
export async function* generateText(
  model: TextModel,
  engines: EngineHolder,
  queue: RequestQueue,
  meters: Map<string, SpeculationMeter>,
  prompt: string | readonly number[],
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, RunSummary> {
  const { maxTokens = 64, signal, sequence: given } = options;
  const { geometry } = model.header;
  const early = readPrompt(model, prompt, options);
  const eosTokenId = options.ignoreEos ? null : geometry.eosTokenId;
  const selector = selectorOf(options, geometry, eosTokenId);
  const text = new GrowingText({ maxTokens, eosTokenId, stream: textStreamOf(model, options.stop) });
  const plan = planSpeculation(options, model.config);
  const turn = await queue.enter(signal);
  const loadedBefore = engines.loadedBytes;
  // What the sequence ends with may not have been computed: nothing came after it.
  const [held, pending] = [given?.length ?? 0, given?.pending ?? []];
  let settle = () => {
    if (!given || given.isReleased) return;
    given.rollback(held);
    given.setPending(pending);
  };
  try {
    // Whether the text begins with the model's first token depends on what the sequence holds now that it is the request's turn.
    const written = given && typeof prompt === "string" ? readPrompt(model, prompt, options) : early;
    const tokens = [...pending, ...written];
    const most = given?.engine.contextTokens ?? model.contextTokens ?? geometry.contextLength;
    checkRoom(held + tokens.length, most);
    const contextTokens = Math.min(most, held + tokens.length + maxTokens);
    const load = async () => given ?? (await engines.ownSequence(contextTokens, options));
    const decoderOf = (beginning: Beginning) => decoderFor(model, beginning, plan, meters, selector, options);
    const beginning = await engines.withDevice(async () => begin(await load(), tokens, given !== undefined, options));
    const generation = new Generation(
      { beginning, decoder: decoderOf(beginning) },
      { maxTokens, contextTokens },
      selector,
      text,
      async (error, chosen) => {
        // A sequence of the caller's own is gone with the device.
        if (given) throw error;
        engines.giveUpDevice(error);
        const sequence = await load();
        const again = await beginAgain(sequence, tokens, chosen, verifierOf(sequence, plan), signal);
        return { beginning: again, decoder: decoderOf(again) };
      },
    );
    settle = () => generation.settle(held + tokens.length);
    for (;;) {
      signal?.throwIfAborted();
      const token = await generation.next();
      if (token === null) break;
      turn.rest();
      yield token;
      turn.resume();
    }
    settle();
    const { finishReason, decoded } = generation;
    turn.rest();
    yield { text: text.rest(), token: null, stats: null, step: null, logprob: null, finishReason };
    const { sequence, batches, reused } = generation.beginning;
    const memory = sequence.engine.parts.plan;
    const stats = summarize(model, memory, tokens.length, batches, decoded, {
      speculation: generation.speculation(plan.drafter?.name ?? null),
      loadedBytes: engines.loadedBytes - loadedBefore,
      reusedTokens: reused,
    });
    return { promptTokens: tokens.length, tokens: generation.tokens, finishReason, stats, plan: memory };
  } catch (error) {
    engines.dropAfter(error);
    throw error;
  } finally {
    settle();
    turn.end();
  }
}

/** @throws {InputError} for a prompt or a number of tokens that make no sense. */
function readPrompt(
  model: TextModel,
  prompt: string | readonly number[],
  { maxTokens = 64, sequence }: GenerateOptions,
): readonly number[] {
  checkMaxTokens(maxTokens);
  const begins = !sequence || sequence.length === 0;
  const tokens = typeof prompt === "string" ? model.tokenizer.encode(prompt, begins) : prompt;
  checkTokens(tokens, model.header.geometry);
  return tokens;
}

/**
 * How a request wants its tokens chosen.
 *
 * @param eosTokenId Ends the text; null: nothing does.
 * @throws {InputError} naming the option that is out of range.
 */
export function selectorOf(
  options: Pick<GenerateOptions, keyof SamplingOptions | "constraint" | "topLogprobs">,
  { vocabSize }: Pick<ModelGeometry, "vocabSize">,
  eosTokenId: number | null,
): TokenSelector {
  const { constraint, topLogprobs } = options;
  checkTopLogprobs(topLogprobs, vocabSize);
  return new TokenSelector(createSampler(options), { constraint, topLogprobs, eosTokenId });
}

/** Null where the file has no tokenizer. @throws {InputError} `INPUT_NO_TOKENIZER` if texts are to end the generation all the same. */
export function textStreamOf(model: TextModel, stop: readonly string[] = []): TextStream | null {
  if (model.header.tokenizerKind !== null) return new TextStream(model.tokenizer, stop);
  if (stop.length > 0) throw noTokenizerError(model.parts.file.source.name);
  return null;
}

/** Whose output it is. */
function verifierOf({ engine }: Sequence, { lossless }: SpeculationPlan): Chooser {
  return lossless ? ALL_NEURONS : engine.chooser;
}

function decoderFor(
  model: TextModel,
  beginning: Beginning,
  plan: SpeculationPlan,
  meters: Map<string, SpeculationMeter>,
  selector: TokenSelector,
  { observer, draftObserver, signal }: GenerateOptions,
): TokenDecoder {
  const { sequence } = beginning;
  const chooser = verifierOf(sequence, plan);
  const drafter = plan.drafter?.make(sequence.engine) ?? null;
  if (drafter === null) return new PlainDecoder(sequence, chooser, selector, observer, signal);
  const key = `${drafter.name} ${chooser === ALL_NEURONS ? "dense" : model.mode}`;
  let meter = meters.get(key);
  if (!meter) {
    meter = new SpeculationMeter(plan.lossless ? sparsePrior(model) : {});
    if (chooser === ALL_NEURONS) learnFromPrompt(meter, beginning);
    meters.set(key, meter);
  }
  const { draftTokens, leastDraftTokens } = plan;
  return new SpeculativeDecoder({
    ...{ sequence, drafter, chooser, selector, meter, draftTokens, leastDraftTokens, observer, draftObserver, signal },
  });
}

/** The prompt's own dense passes say what a verifying one takes: without them, its cost could only be found out by drafting too much. */
function learnFromPrompt(meter: SpeculationMeter, { sequence, batches, reused }: Beginning): void {
  const { batchTokens } = sequence.engine;
  let left = sequence.length - reused;
  for (const { ms } of batches) {
    const tokens = Math.min(batchTokens, left);
    if (tokens > 0) meter.observeVerify(tokens, ms);
    left -= tokens;
  }
}

/** The sparse path nearly always says what the dense model does, and a dense pass costs many of its tokens. */
function sparsePrior({ parts }: TextModel): SpeculationPrior {
  const { predictor } = parts;
  const training = predictor && "training" in predictor ? predictor.training : null;
  return { acceptance: draftAcceptance(training).share, firstDraftTokens: FIRST_SPARSE_DRAFTS };
}

/** @throws {InputError} `INPUT_INVALID`. */
export function checkMaxTokens(maxTokens: number): void {
  if (Number.isInteger(maxTokens) && maxTokens >= 0) return;
  throw new InputError("INPUT_INVALID", `maxTokens is ${maxTokens}, expected an integer of at least 0`);
}

/** @throws {InputError} `INPUT_CONTEXT_LENGTH` for a prompt that its sequence has no room for. */
export function checkRoom(tokens: number, contextTokens: number): void {
  if (tokens <= contextTokens) return;
  throw new InputError(
    "INPUT_CONTEXT_LENGTH",
    `the sequence would have ${tokens} tokens, but ${contextTokens} are reserved for it; open the model with more contextTokens, or shorten the ` +
      `text by ${tokens - contextTokens} tokens`,
    { details: { tokens, contextTokens } },
  );
}

function summarize(
  model: TextModel,
  plan: MemoryPlan,
  promptTokens: number,
  prefill: readonly TokenStats[],
  decode: readonly TokenStats[],
  more: Pick<RunStats, "speculation" | "loadedBytes" | "reusedTokens">,
): RunStats {
  const { policy, windowTokens } = model.config.policy;
  // What drafts do to a token's time is not in a prediction of single tokens.
  const isPlain = more.speculation === null && decode.length > 0;
  return summarizeRun({
    geometry: model.header.geometry,
    weights: model.header.weights,
    backend: model.parts.backend,
    activationBits: model.parts.activationBits,
    ioMode: model.parts.reader.mode,
    mode: model.mode,
    kvDType: plan.kvPrecision,
    policy: `${policy}${windowTokens === null ? "" : ` ${windowTokens}`}`,
    ...model.threading,
    dramBytes: plan.dram,
    predicted: isPlain ? model.predict(plan, { promptTokens, decodeTokens: decode.length }) : null,
    prefill,
    decode,
    ...more,
  });
}
