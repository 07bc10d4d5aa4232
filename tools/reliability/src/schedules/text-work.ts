/** Texts: one after the other, with whatever drafts, or together in a scheduler; some are left or cancelled half-way. */
import { eventLoopTurn, type Random } from "@flashwick/core";
import type { GenerateOptions, Model } from "@flashwick/runtime";
import { Alarm } from "./alarm.js";
import type { Observed } from "./observed.js";
import { TOP_LOGPROBS } from "./reference.js";
import type { SimulatedWorld } from "./simulated-world.js";
import { stemOf } from "./stems.js";

/** What is asked for; the same for the reference. */
interface TextRequest {
  readonly prompt: readonly number[];
  readonly options: Required<Pick<GenerateOptions, "maxTokens" | "temperature" | "seed" | "ignoreEos">>;
}

type Tokens = AsyncIterable<{ readonly token: number | null; readonly logprob: unknown }>;

const PROMPTS = [1, 2, 5, 16, 17, 23];
const MOST_TEXTS_IN_TURN = 3;
const MOST_TEXTS_TOGETHER = 6;
const MOST_TURNS_BEFORE = 30;

function requestOf(random: Random): TextRequest {
  const prompt = stemOf(random.below(3), PROMPTS[random.below(PROMPTS.length)]!);
  const maxTokens = [0, 1, 8, 20][random.below(4)]!;
  const options = { maxTokens, temperature: random.below(2) * 0.8, seed: random.below(2), ignoreEos: true };
  return { prompt, options };
}

/** One text after the other, of which steps draft and verify. */
export async function workOnDrafts(world: SimulatedWorld, model: Model, random: Random, observed: Observed) {
  const count = 1 + random.below(MOST_TEXTS_IN_TURN);
  for (let i = 0; i < count; i++) {
    const request = requestOf(random);
    const lossless = model.mode === "predicted" && random.below(3) === 0;
    const speculate = lossless ? "off" : (["off", "auto", "lookup"] as const)[random.below(3)]!;
    const draftTokens = ([1, 3, 6, "auto"] as const)[random.below(4)]!;
    const drafting = { lossless, speculate, ...((lossless || speculate !== "off") && { draftTokens }) };
    await takeText(world, random, observed, { ...request, lossless }, (signal) =>
      model.generate(request.prompt, { ...request.options, ...drafting, topLogprobs: TOP_LOGPROBS, signal }),
    );
  }
}

/** Texts that come and go at any time, more of them than there are sequences. */
export async function workTogether(world: SimulatedWorld, model: Model, random: Random, observed: Observed) {
  const scheduler = await model.openScheduler({ maxQueue: MOST_TEXTS_TOGETHER });
  const guests = Array.from({ length: 2 + random.below(MOST_TEXTS_TOGETHER - 1) }, async () => {
    const request = { ...requestOf(random), lossless: false };
    for (let turns = random.below(MOST_TURNS_BEFORE); turns > 0; turns--) await eventLoopTurn();
    const { prompt, options } = request;
    await takeText(world, random, observed, request, (signal) =>
      scheduler.generate({ prompt, ...options, topLogprobs: TOP_LOGPROBS, ...(signal && { signal }) }),
    );
  });
  await Promise.all(guests);
  await scheduler.drain();
  const { running, waiting } = scheduler.load;
  if (running + waiting > 0) observed.faults.push(`${running} texts run and ${waiting} wait after all have ended`);
  await scheduler.close();
  const sequence = await model.openSequence();
  const { freePages, openSequences, parts } = sequence.engine;
  const pages = parts.plan.sequences * Math.ceil(parts.plan.contextTokens / 16);
  if (freePages !== pages) observed.faults.push(`${freePages} of ${pages} pages are free after all texts have ended`);
  if (openSequences !== 1) observed.faults.push(`${openSequences - 1} sequences are left after all texts have ended`);
  sequence.release();
}

/** Takes a text to its end, or leaves it, or has it cancelled. */
async function takeText(
  world: SimulatedWorld,
  random: Random,
  observed: Observed,
  request: TextRequest & { readonly lossless: boolean },
  generate: (signal: AbortSignal | undefined) => Tokens,
): Promise<void> {
  const alarm = random.below(5) === 0 ? new Alarm(world, random) : null;
  const leavesAfter = random.below(5) === 0 ? random.below(10) : Number.POSITIVE_INFINITY;
  const dawdles = random.below(4) === 0 ? random.below(6) : 0;
  const tokens: number[] = [];
  const logprobs: string[] = [];
  let isWhole = true;
  try {
    for await (const { token, logprob } of generate(alarm?.signal)) {
      if (token === null) continue;
      tokens.push(token);
      logprobs.push(JSON.stringify(logprob));
      for (let turn = 0; turn < dawdles; turn++) await eventLoopTurn();
      isWhole = tokens.length < leavesAfter;
      if (!isWhole) break;
    }
  } catch (error) {
    if (alarm === null || error !== alarm.reason) throw error;
    isWhole = false;
  } finally {
    alarm?.stop();
  }
  if (!isWhole) observed.cancels++;
  observed.texts.push({ ...request, tokens, logprobs: logprobs.join("\n"), isWhole });
}
